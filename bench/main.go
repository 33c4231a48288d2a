package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/competitors"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/deadletters"
	"github.com/holdfastmq/holdfast/bench/internal/report"
	"github.com/holdfastmq/holdfast/bench/internal/sagas"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/bench/internal/transactions"
)

func main() {
	if code, is := child.Main(deadletters.Worker, sagas.Participant, transactions.UndecidedWorker); is {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures what args ask for, or reports on what was measured. A bar that is not reached is no error; what
// could not be measured is.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	if o.reports() {
		return o.report(out)
	}
	s, err := servers.Open(ctx, o.temporal, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	r := report.Results{Configuration: report.Configure(ctx, s, o.Plan, o.temporal)}
	r.Measurements, err = contest.Run(ctx, s, o.Plan, progress)
	if ctx.Err() != nil {
		return errors.Join(errors.New("interrupted"), err)
	}
	r.Bars = report.Judge(r.Measurements)
	report.PrintResults(out, r)
	// What could not be measured is left out; the rest has taken long.
	if unwritten := r.Write(o.json); unwritten != nil {
		err = errors.Join(err, unwritten)
	} else {
		fmt.Fprintf(out, "\nwritten to %s\n\n", o.json)
	}
	report.PrintBars(out, r.Bars)
	return err
}

// options are the flags.
type options struct {
	contest.Plan
	temporal servers.TemporalServer
	json     string

	tables, plot, plots, doc string // what is to be made of results that are there
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	var only, callers, temporal string
	sets := competitors.Sets()
	known := fmt.Sprintf("%s; or a set of them: %s", strings.Join(competitors.Names(competitors.All), ", "),
		strings.Join(slices.Sorted(maps.Keys(sets)), ", "))
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&only, "only", "", "measure only these, separated by commas: "+known)
	f.StringVar(&temporal, "temporal", servers.TemporalServers[0].Name, "the private Temporal server: "+
		"postgresql (PostgreSQL persistence, as in production) or dev (the dev server); with TEMPORAL_ADDRESS neither")
	f.Float64Var(&o.Seconds, "seconds", 5, "length of one measurement, without its warm-up")
	f.IntVar(&o.Rounds, "rounds", 3, "how often each is measured")
	f.StringVar(&callers, "callers", "1,16,64,256",
		"numbers of concurrent callers; what has a workflow for each operation is measured up to 64")
	f.StringVar(&o.json, "json", filepath.Join("results", time.Now().UTC().Format("20060102T150405Z")+".json"),
		"write every figure to this file")
	f.StringVar(&o.Profile, "profile", "", "write a CPU profile of each measurement into this folder")
	f.StringVar(&o.tables, "tables", "", "measure nothing: print the Markdown tables of this results file")
	f.StringVar(&o.plot, "plot", "", "measure nothing: draw the plots of this results file")
	f.StringVar(&o.plots, "plots", filepath.Join("..", "docs", "plots"), "the folder for the plots")
	f.StringVar(&o.doc, "doc", "", "measure nothing: put the tables into this document anew, "+
		"where it says <!-- table FILE NAME -->, from the folder results")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q: only flags are understood", f.Arg(0))
	}
	i := slices.IndexFunc(servers.TemporalServers, func(t servers.TemporalServer) bool { return t.Name == temporal })
	if i < 0 {
		return o, fmt.Errorf("-temporal %q: want postgresql or dev", temporal)
	}
	o.temporal = servers.TemporalServers[i]
	if o.Seconds < 0.1 || o.Seconds > 600 {
		return o, fmt.Errorf("-seconds %v: want 0.1 to 600", o.Seconds)
	}
	if o.Rounds < 1 || o.Rounds > 100 {
		return o, fmt.Errorf("-rounds %d: want 1 to 100", o.Rounds)
	}
	for c := range strings.SplitSeq(callers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(c))
		if err != nil || n < 1 || n > 4096 {
			return o, fmt.Errorf("-callers %q: want numbers from 1 to 4096, separated by commas", callers)
		}
		o.Callers = append(o.Callers, n)
	}
	var err error
	o.Only, err = competitors.Choose(only, sets)
	if err != nil {
		return o, fmt.Errorf("-only %q: %w; there are %s", only, err, known)
	}
	return o, nil
}

// reports says whether the flags ask for reports only.
func (o options) reports() bool { return o.tables != "" || o.plot != "" || o.doc != "" }

// report makes of results what the flags ask for.
func (o options) report(out io.Writer) error {
	if o.tables != "" {
		r, err := report.Read(o.tables)
		if err != nil {
			return err
		}
		report.PrintTables(out, r)
	}
	if o.plot != "" {
		r, err := report.Read(o.plot)
		if err != nil {
			return err
		}
		written, err := r.Plots(o.plots, o.plot)
		for _, path := range written {
			fmt.Fprintln(out, path)
		}
		if err != nil {
			return err
		}
	}
	if o.doc != "" {
		return report.FillFile(o.doc, "results")
	}
	return nil
}
