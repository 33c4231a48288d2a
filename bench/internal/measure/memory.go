package measure

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what of a process is in the machine's memory, code and all, in MB of
// a million bytes.
type Memory struct {
	Resident float64 `json:"resident_mb"`
	Peak     float64 `json:"peak_mb"` // since the process began, or since ResetPeak
}

// ReadMemory reads this process's from /proc; where there is none, it is an
// error.
func ReadMemory() (Memory, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Memory{}, fmt.Errorf("the memory of a process can be read on Linux only: %w", err)
	}
	return parseMemory(string(text))
}

func parseMemory(status string) (m Memory, err error) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		field := map[string]*float64{"VmRSS": &m.Resident, "VmHWM": &m.Peak}[name]
		if field == nil {
			continue
		}
		number, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		kib, err := strconv.ParseUint(number, 10, 64)
		if err != nil || unit != "kB" {
			return Memory{}, fmt.Errorf("%q is no size in kB", strings.TrimSpace(line))
		}
		*field = float64(kib) * 1024 / 1e6
	}
	if m.Resident == 0 || m.Peak == 0 {
		return Memory{}, errors.New("/proc/self/status does not have VmRSS and VmHWM")
	}
	return m, nil
}

// ResetPeak lets this process's peak begin anew. Where that is not allowed, the
// peak is since the process began, which is no less.
func ResetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }
