package contest

import (
	"fmt"

	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

// Measurement is one figure with what it is about.
type Measurement struct {
	Name    string `json:"name"`
	Callers int    `json:"callers"`
	Round   int    `json:"round"`
	Turn    int    `json:"turn"`
	Series  string `json:"series,omitempty"`
	Size    int    `json:"size,omitempty"`
	measure.Figure
}

// String is the line of progress about one measurement.
func (m Measurement) String() string {
	s := fmt.Sprintf("round %d  %-22s %4d callers  %8s/s", m.Round, m.Name, m.Callers, measure.Digits(m.Rate))
	if m.P50 > 0 {
		s += fmt.Sprintf("  p50 %s ms  p99 %s ms", measure.Digits(m.P50), measure.Digits(m.P99))
	}
	if m.Growth != 0 {
		s += fmt.Sprintf("  memory grew by %s MB", measure.Digits(m.Growth))
	}
	if m.Peak != 0 {
		s += fmt.Sprintf("  %s s, memory %s MB", measure.Digits(m.Seconds), measure.Digits(m.Peak))
	}
	if m.Failed > 0 {
		s += fmt.Sprintf("  %d failed: %s", m.Failed, m.Failure)
	}
	return s
}
