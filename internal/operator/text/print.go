// Package text turns what operators are told into words: tables, JSON, ages, names cut to
// length, errors with their remedies, and the commands that are suggested. What others wrote
// cannot steer a terminal through it. It is the bottom of internal/operator, and imports
// only the root and internal/shell.
package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// JSON writes v for programs to read.
func JSON(w io.Writer, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(text.Bytes()))
	return err
}

// Table writes rows in aligned columns, the last of which is as wide as it is.
type Table struct{ w *tabwriter.Writer }

// NewTable begins a table with a line of columns; none: without one.
func NewTable(w io.Writer, columns ...string) *Table {
	t := &Table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(columns) > 0 {
		t.Row(columns...)
	}
	return t
}

// Row writes a row of cells, each as one line.
func (t *Table) Row(cells ...string) {
	for i, c := range cells {
		cells[i] = OneLine(c)
	}
	t.Painted(cells...)
}

// Painted writes a row of cells that are safe already, and may be coloured.
func (t *Table) Painted(cells ...string) { _, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

// Flush writes the table.
func (t *Table) Flush() error { return t.w.Flush() }

// Palette colours words, on a terminal.
type Palette bool

// Paint colours a word by its level. All codes are as long, so that columns stay
// aligned.
func (p Palette) Paint(l Level, word string) string {
	if !p {
		return word
	}
	return LevelColours[l] + word + noColour
}

const noColour = "\x1b[0m"

// LevelColours are the codes by level.
var LevelColours = map[Level]string{LevelOK: "\x1b[32m", LevelWarning: "\x1b[33m", LevelProblem: "\x1b[31m",
	"": "\x1b[39m"}

// Level says how bad a finding is.
type Level string

const (
	LevelOK      Level = "ok"
	LevelWarning Level = "warning"
	LevelProblem Level = "problem"
)
