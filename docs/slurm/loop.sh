#!/bin/bash
# Goes on with a job until it has done all it was asked for, in sessions of HOUR seconds that
# each end with a checkpoint. For a machine without a scheduler, or one that takes time slices.
job=$1
while
    wepy resume --until="$(($(date +%s) + ${HOUR:-3600}))" "$job"
    status=$?
    [ "$status" -eq 75 ]
do :; done
exit "$status"
