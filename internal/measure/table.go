package measure

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The lines of the page between which the table stands.
const (
	tableBegin = "<!-- measured by make measure -->\n"
	tableEnd   = "<!-- end -->\n"
)

func whole(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) }

func percent(v float64) string { return strconv.FormatFloat(100*v, 'f', 1, 64) + " %" }

// Table is the bars as Markdown.
func Table(bars []Bar) string {
	var b strings.Builder
	b.WriteString("| what | before | today | at most | |\n|---|--:|--:|--:|---|\n")
	for _, bar := range bars {
		limit, verdict := "", ""
		if bar.AtMost != noBar {
			limit, verdict = bar.Format(bar.AtMost), "**not met**"
			if bar.Met() {
				verdict = "met"
			}
		}
		name := bar.Name
		if bar.Detail != "" {
			name += " (`" + bar.Detail + "`)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", name, bar.Format(bar.Before), bar.Format(bar.Value), limit, verdict)
	}
	return b.String()
}

// WithTable returns the page's text with the bars' table in the place of the one there.
func WithTable(page string, bars []Bar) (string, error) {
	before, rest, found := strings.Cut(page, tableBegin)
	if !found {
		return "", errors.New("the page has no line " + strings.TrimSpace(tableBegin))
	}
	_, after, found := strings.Cut(rest, tableEnd)
	if !found {
		return "", errors.New("the page's table has no line " + strings.TrimSpace(tableEnd) + " behind it")
	}
	return before + tableBegin + Table(bars) + tableEnd + after, nil
}
