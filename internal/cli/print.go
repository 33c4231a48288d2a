package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
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

// oneLine makes s fit for a cell: what others wrote must not move the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case steers(r):
			return -1
		}
		return r
	}, s)
}

// palette colours words, on a terminal.
type palette bool

// colours says whether what is written to w may be coloured.
func (a *app) colours(w io.Writer) palette {
	return palette(a.NoColor == "" && a.Term != "" && a.Term != "dumb" && isTerminal(w))
}

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

// orDash stands in for an empty cell.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age is a duration as people say it: its largest unit or two.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

const dateTime = "2006-01-02 15:04:05"
