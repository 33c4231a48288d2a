package measure

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// CPU is processor time by part, in milliseconds: "bench" is this process
// (client and worker), "worker" one that runs a worker alone, the servers are
// those that it started, "elsewhere" is everything else on the machine. It is read
// from /proc, and nil where there is none.
type CPU map[string]float64

// clockTick is the length of a clock tick in /proc: USER_HZ is 100 on every Linux
// that Go runs on.
const clockTick = 10.0

// partOf tells the part from a process's name.
func partOf(process string) string {
	switch {
	case strings.HasPrefix(process, "temporal"):
		return "temporal"
	case process == "dtm":
		return "dtm"
	case strings.HasPrefix(process, "postgres"):
		return "postgresql"
	case strings.HasPrefix(process, "beam") || strings.HasPrefix(process, "erl") || strings.HasPrefix(process, "epmd"):
		return "rabbitmq"
	}
	return ""
}

// ReadCPU reads how much each part has used since it was started.
func ReadCPU() CPU {
	total, ok := machineCPU()
	if !ok {
		return nil
	}
	use := CPU{}
	type process struct {
		parent     int
		name, part string
		used       float64
	}
	all := map[int]process{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		name, fields, ok := readStat(path)
		if !ok {
			continue // it has ended
		}
		parent, _ := strconv.Atoi(fields[1])
		all[pid] = process{parent, name, partOf(name), number(fields[11]) + number(fields[12])}
	}
	self := os.Getpid()
	for pid, p := range all {
		part := p.part
		switch {
		case pid == self:
			part = "bench"
		case p.parent == self && p.name == all[self].name:
			part = "worker"
		}
		if part == "" {
			continue
		}
		for up := pid; up > 1; up = all[up].parent {
			if up == self {
				use[part] += p.used
				total -= p.used
				break
			}
		}
	}
	use["elsewhere"] = total
	return use
}

// readStat reads a process's name and the fields after it, from its state on.
func readStat(path string) (name string, fields []string, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, false
	}
	open, shut := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return "", nil, false
	}
	fields = strings.Fields(string(text[shut+1:]))
	return string(text[open+1 : shut]), fields, len(fields) > 13
}

// machineCPU is what all processes together have used: user, nice, system, irq,
// softirq.
func machineCPU() (float64, bool) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, false
	}
	return number(f[1]) + number(f[2]) + number(f[3]) + number(f[6]) + number(f[7]), true
}

func number(ticks string) float64 {
	n, _ := strconv.ParseFloat(ticks, 64)
	return n * clockTick
}

// Sub is what was used since before.
func (u CPU) Sub(before CPU) CPU {
	out := CPU{}
	for part, v := range u {
		out[part] = max(0, v-before[part])
	}
	return out
}

// Per is the share of each of n operations.
func (u CPU) Per(n int) CPU {
	out := CPU{}
	for part, v := range u {
		out[part] = v / float64(n)
	}
	return out
}

// String is "bench 0.31 + rabbitmq 0.22 …", without what is next to nothing.
func (u CPU) String() string {
	var parts []string
	for _, part := range slices.Sorted(maps.Keys(u)) {
		if u[part] >= 0.005 {
			parts = append(parts, part+" "+Digits(u[part]))
		}
	}
	return strings.Join(parts, ", ")
}
