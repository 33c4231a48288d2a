package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printJSON writes v for programs to read.
func printJSON(w io.Writer, v any) error {
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

// table writes rows in aligned columns, the last of which is as wide as it is.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, columns ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(columns) > 0 {
		t.row(columns...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = oneLine(c)
	}
	t.painted(cells...)
}

// painted writes a row of cells that are safe already, and may be coloured.
func (t *table) painted(cells ...string) { _, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

func (t *table) flush() error { return t.w.Flush() }

// palette colours words, on a terminal.
type palette bool

// paint colours a word by its level. All codes are as long, so that columns stay
// aligned.
func (p palette) paint(l level, word string) string {
	if !p {
		return word
	}
	return levelColours[l] + word + noColour
}

const noColour = "\x1b[0m"

var levelColours = map[level]string{levelOK: "\x1b[32m", levelWarning: "\x1b[33m", levelProblem: "\x1b[31m", "": "\x1b[39m"}

// level says how bad a finding is.
type level string

const (
	levelOK      level = "ok"
	levelWarning level = "warning"
	levelProblem level = "problem"
)
