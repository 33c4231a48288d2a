// Package report makes something to look at of what was measured: the results file,
// what is printed, the bars, tables in Markdown, plots.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
)

// Results is what is written to the JSON file.
type Results struct {
	Configuration Configuration         `json:"configuration"`
	Bars          []BarResult           `json:"bars"`
	Measurements  []contest.Measurement `json:"measurements"`
}

// Write puts r in place as a whole.
func (r Results) Write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Read reads a file that write wrote.
func Read(path string) (r Results, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
