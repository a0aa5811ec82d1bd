"""What a run needs of the machine: checkpoints, run folders, logs, devices, several processes, interrupts."""
