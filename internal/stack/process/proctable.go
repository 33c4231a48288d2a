package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Info is what the process table says about one process.
type Info struct {
	PID, Parent int
	zombie      bool
	Started     string // its start time: a PID with another one is another process
}

// Lookup reads one process; ok is false when there is none.
func Lookup(pid int) (Info, bool) {
	if pid <= 0 {
		return Info{}, false
	}
	if hasProc() {
		return readStat(pid)
	}
	for _, p := range psTable("-p", strconv.Itoa(pid)) {
		if p.PID == pid {
			return p, true
		}
	}
	return Info{}, false
}

// Running says whether that very process (same start time) still runs.
func Running(pid int, started string) bool {
	p, ok := Lookup(pid)
	return ok && !p.zombie && p.Started == started
}

// Descendants lists every process below root, at this moment.
func Descendants(root int) []Info {
	children := make(map[int][]Info)
	for _, p := range allProcesses() {
		children[p.Parent] = append(children[p.Parent], p)
	}
	var found []Info
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			found = append(found, p)
			queue = append(queue, p.PID)
		}
	}
	return found
}

func allProcesses() []Info {
	if !hasProc() {
		return psTable("-ax")
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []Info
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
func readStat(pid int) (Info, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Info{}, false
	}
	i := strings.LastIndexByte(string(text), ')')
	if i < 0 {
		return Info{}, false
	}
	fields := strings.Fields(string(text[i+1:]))
	if len(fields) < 20 { // state, parent, …, start time as the 20th
		return Info{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return Info{}, false
	}
	return Info{
		PID:     pid,
		Parent:  parent,
		zombie:  fields[0] == "Z" || fields[0] == "X",
		Started: fields[19],
	}, true
}

// psTable asks ps where there is no /proc.
func psTable(selection ...string) []Info {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	args := append(selection, "-o", "pid=,ppid=,stat=,lstart=")
	out, err := exec.CommandContext(ctx, "ps", args...).Output()
	if err != nil {
		return nil
	}
	var all []Info
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		pid, err1 := strconv.Atoi(f[0])
		parent, err2 := strconv.Atoi(f[1])
		if err1 == nil && err2 == nil {
			all = append(all, Info{pid, parent, strings.HasPrefix(f[2], "Z"), strings.Join(f[3:], " ")})
		}
	}
	return all
}
