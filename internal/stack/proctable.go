package stack

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// procInfo is what the process table says about one process.
type procInfo struct {
	pid, parent int
	zombie      bool
	started     string // its start time: a PID with another one is another process
}

// lookup reads one process; ok is false when there is none.
func lookup(pid int) (procInfo, bool) {
	if pid <= 0 {
		return procInfo{}, false
	}
	if hasProc() {
		return readStat(pid)
	}
	for _, p := range psTable("-p", strconv.Itoa(pid)) {
		if p.pid == pid {
			return p, true
		}
	}
	return procInfo{}, false
}

// running says whether that very process (same start time) still runs.
func running(pid int, started string) bool {
	p, ok := lookup(pid)
	return ok && !p.zombie && p.started == started
}

// descendants lists every process below root, at this moment.
func descendants(root int) []procInfo {
	children := make(map[int][]procInfo)
	for _, p := range allProcesses() {
		children[p.parent] = append(children[p.parent], p)
	}
	var found []procInfo
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			found = append(found, p)
			queue = append(queue, p.pid)
		}
	}
	return found
}

func allProcesses() []procInfo {
	if !hasProc() {
		return psTable("-ax")
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []procInfo
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := readStat(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

func hasProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// readStat reads /proc/PID/stat. The second field, the name, may hold anything,
// so what follows its last parenthesis counts.
func readStat(pid int) (procInfo, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return procInfo{}, false
	}
	i := strings.LastIndexByte(string(text), ')')
	if i < 0 {
		return procInfo{}, false
	}
	fields := strings.Fields(string(text[i+1:]))
	if len(fields) < 20 { // state, parent, …, start time as the 20th
		return procInfo{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return procInfo{}, false
	}
	return procInfo{
		pid:     pid,
		parent:  parent,
		zombie:  fields[0] == "Z" || fields[0] == "X",
		started: fields[19],
	}, true
}

// psTable asks ps where there is no /proc.
func psTable(selection ...string) []procInfo {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	args := append(selection, "-o", "pid=,ppid=,stat=,lstart=")
	out, err := exec.CommandContext(ctx, "ps", args...).Output()
	if err != nil {
		return nil
	}
	var all []procInfo
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		pid, err1 := strconv.Atoi(f[0])
		parent, err2 := strconv.Atoi(f[1])
		if err1 == nil && err2 == nil {
			all = append(all, procInfo{pid, parent, strings.HasPrefix(f[2], "Z"), strings.Join(f[3:], " ")})
		}
	}
	return all
}
