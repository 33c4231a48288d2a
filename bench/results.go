package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// results is what is written to the JSON file.
type results struct {
	Configuration configuration `json:"configuration"`
	Bars          []barResult   `json:"bars"`
	Measurements  []measurement `json:"measurements"`
}

// write puts r in place as a whole.
func (r results) write(path string) error {
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

// readResults reads a file that write wrote.
func readResults(path string) (r results, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
