package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// The unit of times in /proc/<pid>/stat, on every Linux that Go supports.
const ticksPerSecond = 100

// cpuSeconds returns what each process has used so far, all threads, user and system.
func cpuSeconds(pids []int) []float64 {
	used := make([]float64, len(pids))
	for i, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// Behind the command, which may hold blanks, the state is the first field and utime the 12th.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		user, _ := strconv.Atoi(string(fields[11]))
		system, _ := strconv.Atoi(string(fields[12]))
		used[i] = float64(user+system) / ticksPerSecond
	}
	return used
}

func residentBytes(pids []int) []int64 {
	resident := make([]int64, len(pids))
	for i, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		pages, _ := strconv.ParseInt(string(bytes.Fields(text)[1]), 10, 64)
		resident[i] = pages * int64(os.Getpagesize())
	}
	return resident
}

func ownSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
