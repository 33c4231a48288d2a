package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/holdfastmq/holdfast/bench/internal/competitors"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

// PrintResults prints the configuration, the medians and the bars' ratios.
func PrintResults(out io.Writer, r Results) {
	c := r.Configuration
	fmt.Fprintf(out, "\n%d cores, %s, kernel %s, %s; Temporal: %s; %s\n",
		c.Cores, c.OS, c.Kernel, c.Go, c.Temporal, list(c.Servers))
	fmt.Fprintf(out, "medians of %d rounds of %v s; bodies of %d bytes, %d database connections\n\n",
		c.Rounds, c.Seconds, c.BodySize, c.PoolSize)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tcallers\tper second\tp50 ms\tp99 ms\tfailed\tprocessor ms per operation\t")
	for _, name := range competitors.Names(competitors.All) {
		for _, m := range medians(r.Measurements, name) {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%d\t%s\t\n", m.Name, m.Callers,
				measure.Digits(m.Rate), latency(m.P50), latency(m.P99), m.Failed, m.CPU)
		}
	}
	_ = t.Flush() // to what was printed to before
	fmt.Fprintln(out)
	for _, name := range slices.Sorted(maps.Keys(c.About)) {
		fmt.Fprintf(out, "%-23s %s\n", name+":", c.About[name])
	}
	fmt.Fprintln(out)
	for _, b := range r.Bars {
		fmt.Fprintf(out, "%s: rounds", b.Name)
		for _, v := range b.Rounds {
			fmt.Fprintf(out, " %s", ratio(v, b.limit))
		}
		fmt.Fprintln(out)
	}
}

// PrintBars prints the last lines.
func PrintBars(out io.Writer, bars []BarResult) {
	for _, b := range bars {
		fmt.Fprintln(out, b)
	}
}

// medians sums the rounds of one competitor up, by number of callers; failures
// are added.
func medians(ms []contest.Measurement, name string) []contest.Measurement {
	byCallers := map[int][]contest.Measurement{}
	for _, m := range ms {
		if m.Name == name {
			byCallers[m.Callers] = append(byCallers[m.Callers], m)
		}
	}
	var out []contest.Measurement
	for _, callers := range slices.Sorted(maps.Keys(byCallers)) {
		rounds := byCallers[callers]
		of := func(quantity func(contest.Measurement) float64) float64 {
			var vs []float64
			for _, m := range rounds {
				vs = append(vs, quantity(m))
			}
			return measure.Median(vs)
		}
		sum := contest.Measurement{Name: name, Callers: callers, Series: rounds[0].Series,
			Size: rounds[0].Size, Figure: measure.Figure{CPU: measure.CPU{}}}
		sum.Rate = of(func(m contest.Measurement) float64 { return m.Rate })
		sum.P50 = of(func(m contest.Measurement) float64 { return m.P50 })
		sum.P99 = of(func(m contest.Measurement) float64 { return m.P99 })
		sum.Seconds = of(func(m contest.Measurement) float64 { return m.Seconds })
		sum.Peak = of(func(m contest.Measurement) float64 { return m.Peak })
		for part := range rounds[0].CPU {
			sum.CPU[part] = of(func(m contest.Measurement) float64 { return m.CPU[part] })
		}
		for _, m := range rounds {
			sum.Failed += m.Failed
		}
		out = append(out, sum)
	}
	return out
}

func list(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+" "+m[k])
	}
	return strings.Join(parts, ", ")
}

// latency prints a latency in milliseconds; 0 is none.
func latency(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return measure.Digits(ms)
}
