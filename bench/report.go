package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tables are those that can be made of results, in Markdown, by name. One of what
// was not measured has no rows.
var tables = map[string]func(results) string{
	"run":         func(r results) string { return r.about() },
	"callers":     results.callersTable,
	"bars":        results.barsTable,
	"summary":     results.summaryTable,
	"undecided":   results.undecidedTable,
	"payload":     results.payloadTable,
	"half-queues": results.halfQueuesTable,
	"backlog":     results.backlogTable,
}

// printTables prints all of them.
func printTables(out io.Writer, r results) {
	for _, name := range sortedKeys(tables) {
		fmt.Fprintf(out, "## %s\n\n%s\n", name, tables[name](r))
	}
}

// about says what the run was, in a sentence.
func (r results) about() string {
	c := r.Configuration
	return fmt.Sprintf("%s: %d rounds of %v s; %d cores, Linux %s, %s; %s.\n",
		c.At.Format("2 January 2006"), c.Rounds, c.Seconds, c.Cores, c.Kernel, c.Go, list(c.Servers))
}

func (r results) callersTable() string {
	t := table{"competitor", "callers", "per second", "p50 ms",
		"p99 ms", "client", "Temporal", "PostgreSQL", "RabbitMQ", "others"}
	out := t.head()
	for _, name := range names(sets()["lanes"]) {
		for _, m := range medians(r.Measurements, name) {
			if m.Series != "" {
				continue
			}
			cells := []string{"`" + name + "`", fmt.Sprint(m.Callers), digits(m.Rate), latency(m.P50), latency(m.P99)}
			for _, v := range []float64{m.CPU["bench"] + m.CPU["worker"],
				m.CPU["temporal"], m.CPU["postgresql"], m.CPU["rabbitmq"], m.CPU["elsewhere"]} {
				cells = append(cells, fmt.Sprintf("%.2f", max(0, v)))
			}
			out += row(cells...)
		}
	}
	return out
}

func (r results) barsTable() string {
	out := table{"bar", "has to be", "is", "lowest", "highest", ""}.head()
	for _, b := range r.Bars {
		limit := bound{}
		if b.AtMost != nil {
			limit = atMost(*b.AtMost)
		} else if b.AtLeast != nil {
			limit = atLeast(*b.AtLeast)
		}
		verdict := "met"
		if !b.OK {
			verdict = "**not met**"
		}
		out += row("`"+b.Name+"`", limit.String(), ratio(b.Value, limit),
			ratio(slices.Min(b.Rounds), limit), ratio(slices.Max(b.Rounds), limit), verdict)
	}
	return out
}

func (r results) undecidedTable() string {
	out := table{"undecided", "seconds", "per second", "peak memory, MB"}.head()
	for _, m := range r.series(undecidedSeries) {
		out += row(fmt.Sprint(m.Size), digits(m.Seconds), digits(m.Rate), digits(m.Peak))
	}
	return out
}

func (r results) payloadTable() string {
	return r.together(table{"bytes", "express per second", "limit per second"},
		func(m measurement) string { return digits(m.Rate) }, payloadExpress, payloadLimit)
}

func (r results) halfQueuesTable() string {
	out := table{"half queues", "per second", "p50 ms", "p99 ms"}.head()
	for _, m := range r.series(queuesExpress) {
		out += row(fmt.Sprint(m.Size), digits(m.Rate), latency(m.P50), latency(m.P99))
	}
	return out
}

func (r results) backlogTable() string {
	return r.together(table{"backlog", "Keeper: seconds (per second)", "consumer: seconds (per second)"},
		func(m measurement) string { return digits(m.Seconds) + " (" + digits(m.Rate) + ")" }, keeperSeries, consumerSeries)
}

// together puts series side by side, a row for each size.
func (r results) together(t table, cell func(measurement) string, series ...string) string {
	rows := map[int][]string{}
	for i, name := range series {
		for _, m := range r.series(name) {
			if rows[m.Size] == nil {
				rows[m.Size] = slices.Repeat([]string{"-"}, len(series))
			}
			rows[m.Size][i] = cell(m)
		}
	}
	out := t.head()
	for _, size := range sortedKeys(rows) {
		out += row(append([]string{fmt.Sprint(size)}, rows[size]...)...)
	}
	return out
}

// table is the names of its columns. All but the first are numbers.
type table []string

func (t table) head() string {
	return row(t...) + "|---|" + strings.Repeat("--:|", len(t)-1) + "\n"
}

func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// marked is a place in a document: the results it is about, the table's name, and
// what is there now.
var marked = regexp.MustCompile(`(?s)<!-- table ([\w.-]+) ([\w-]+) -->\n.*?<!-- end -->`)

// fill replaces the tables of a document, each by that of the results that its
// marker names, which are in folder.
func fill(document, folder string) (string, error) {
	var failed error
	out := marked.ReplaceAllStringFunc(document, func(place string) string {
		parts := marked.FindStringSubmatch(place)
		source, name := parts[1], parts[2]
		r, err := readResults(filepath.Join(folder, source))
		if err == nil && tables[name] == nil {
			err = fmt.Errorf("there is no table %q; there are %s", name, strings.Join(sortedKeys(tables), ", "))
		}
		if err != nil {
			if failed == nil {
				failed = err
			}
			return place
		}
		return fmt.Sprintf("<!-- table %s %s -->\n%s<!-- end -->", source, name, tables[name](r))
	})
	return out, failed
}

// fillFile does so with a file.
func fillFile(path, folder string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := fill(string(data), folder)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
