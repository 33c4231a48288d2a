package report

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

	"github.com/holdfastmq/holdfast/bench/internal/competitors"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/messages"
	"github.com/holdfastmq/holdfast/bench/internal/transactions"
)

// tables are those that can be made of results, in Markdown, by name. One of what
// was not measured has no rows.
var tables = map[string]func(Results) string{
	"run":         func(r Results) string { return r.about() },
	"callers":     Results.callersTable,
	"bars":        Results.barsTable,
	"summary":     Results.summaryTable,
	"undecided":   Results.undecidedTable,
	"payload":     Results.payloadTable,
	"half-queues": Results.halfQueuesTable,
	"backlog":     Results.backlogTable,
	"peers":       Results.peersTable,
}

// PrintTables prints all of them.
func PrintTables(out io.Writer, r Results) {
	for _, name := range sortedKeys(tables) {
		fmt.Fprintf(out, "## %s\n\n%s\n", name, tables[name](r))
	}
}

// about says what the run was, in a sentence.
func (r Results) about() string {
	c := r.Configuration
	return fmt.Sprintf("%s: %d rounds of %v s; %d cores, Linux %s, %s; %s.\n",
		c.At.Format("2 January 2006"), c.Rounds, c.Seconds, c.Cores, c.Kernel, c.Go, list(c.Servers))
}

func (r Results) callersTable() string {
	t := table{"competitor", "callers", "per second", "p50 ms",
		"p99 ms", "client", "Temporal", "PostgreSQL", "RabbitMQ", "others"}
	out := t.head()
	for _, name := range competitors.Names(competitors.Sets()["lanes"]) {
		for _, m := range medians(r.Measurements, name) {
			if m.Series != "" {
				continue
			}
			cells := []string{"`" + name + "`", fmt.Sprint(m.Callers), measure.Digits(m.Rate), latency(m.P50), latency(m.P99)}
			for _, v := range []float64{m.CPU["bench"] + m.CPU["worker"],
				m.CPU["temporal"], m.CPU["postgresql"], m.CPU["rabbitmq"], m.CPU["elsewhere"]} {
				cells = append(cells, fmt.Sprintf("%.2f", max(0, v)))
			}
			out += row(cells...)
		}
	}
	return out
}

func (r Results) barsTable() string {
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

func (r Results) undecidedTable() string {
	out := table{"undecided", "seconds", "per second", "peak memory, MB"}.head()
	for _, m := range r.series(transactions.UndecidedSeries) {
		out += row(fmt.Sprint(m.Size), measure.Digits(m.Seconds), measure.Digits(m.Rate), measure.Digits(m.Peak))
	}
	return out
}

func (r Results) payloadTable() string {
	return r.together(table{"bytes", "express per second", "limit per second"},
		func(m contest.Measurement) string { return measure.Digits(m.Rate) },
		transactions.PayloadExpress, transactions.PayloadLimit)
}

func (r Results) halfQueuesTable() string {
	out := table{"half queues", "per second", "p50 ms", "p99 ms"}.head()
	for _, m := range r.series(transactions.HalfQueuesExpress) {
		out += row(fmt.Sprint(m.Size), measure.Digits(m.Rate), latency(m.P50), latency(m.P99))
	}
	return out
}

func (r Results) backlogTable() string {
	return r.together(table{"backlog", "Keeper: seconds (per second)", "consumer: seconds (per second)"},
		func(m contest.Measurement) string {
			return measure.Digits(m.Seconds) + " (" + measure.Digits(m.Rate) + ")"
		}, messages.KeeperSeries, messages.ConsumerSeries)
}

// together puts series side by side, a row for each size.
func (r Results) together(t table, cell func(contest.Measurement) string, series ...string) string {
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
		r, err := Read(filepath.Join(folder, source))
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

// FillFile does so with a file.
func FillFile(path, folder string) error {
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
