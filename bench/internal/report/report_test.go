package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfastmq/holdfast/bench/internal/competitors"
	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
)

// someResults have one measurement of everything that is drawn.
func someResults() Results {
	r := Results{Configuration: Configuration{Temporal: "dev", Rounds: 2, Seconds: 4}}
	for _, c := range competitors.All {
		for _, callers := range c.Counts(contest.Plan{Callers: []int{1, 64, 256}}) {
			for round := range 2 {
				r.Measurements = append(r.Measurements, contest.Measurement{Name: c.Name, Series: c.Series, Size: c.Size, Callers: callers, Round: round + 1,
					Figure: measure.Figure{Rate: float64(100 + 2*round), P50: 2, P99: 3, Seconds: 4, Peak: 120}})
			}
		}
	}
	r.Bars = Judge(r.Measurements)
	return r
}

func TestPlotsAreDrawn(t *testing.T) {
	folder := t.TempDir()
	written, err := someResults().Plots(folder, "results/lanes.json")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range written {
		names = append(names, filepath.Base(path))
	}
	want := []string{"lanes-backlog.svg", "lanes-half-queues.svg", "lanes-p50.svg", "lanes-payload.svg", "lanes-rates.svg", "lanes-undecided.svg"}
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestPlotIsReadable(t *testing.T) {
	svg, err := someResults().charts()["rates"].svg()
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for err == nil {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("no XML: %v", err)
	}
	for _, part := range []string{"fill:#FFFFFF", ">callers<", ">per second<", ">express<", ">cohorts<", ">outbox<", ">256<", "sans-serif"} {
		if !bytes.Contains(svg, []byte(part)) {
			t.Errorf("%s is missing", part)
		}
	}
}

func TestPlotsOfWhatWasNotMeasuredAreLeftOut(t *testing.T) {
	written, err := Results{}.Plots(t.TempDir(), "none.json")
	if err != nil || len(written) > 0 {
		t.Errorf("%v, %v", written, err)
	}
}

func TestTables(t *testing.T) {
	r := someResults()
	for name, want := range map[string]string{
		"undecided":   "| 100000 | 4.00 | 101 | 120 |\n",
		"payload":     "| 262144 | 101 | 101 |\n",
		"half-queues": "| 8 | 101 | 2.00 | 3.00 |\n",
		"backlog":     "| 500000 | 4.00 (101) | 4.00 (101) |\n",
		"callers":     "| `express` | 256 | 101 | 2.00 | 3.00 | 0.00 |",
		"summary":     "| the same, each with a workflow of its own | 101 | 2.00 | 101 empty workflows |\n",
		"bars":        "| `express-vs-limit-64` | at least 0.8 | 1.00 | 1.00 | 1.00 | met |\n",
	} {
		if got := tables[name](r); !strings.Contains(got, want) {
			t.Errorf("%s: %q is missing in\n%s", name, want, got)
		}
	}
	if bars := tables["bars"](r); !strings.Contains(bars, "| `cohorts-vs-usual` | at least 40 | 1.0 | 1.0 | 1.0 | **not met** |") {
		t.Errorf("a bar that is not met is not shown as such:\n%s", bars)
	}
}

func TestResultsAreWrittenAsTheyWereRead(t *testing.T) {
	for _, name := range []string{"lanes.json", "sagas.json", "failures.json"} {
		path := filepath.Join("..", "..", "results", name)
		r, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		again := filepath.Join(t.TempDir(), name)
		if err := r.Write(again); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(again)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is written otherwise than it was read (%v)", name, err)
		}
	}
}

func TestFillReplacesTables(t *testing.T) {
	folder := t.TempDir()
	if err := someResults().Write(filepath.Join(folder, "lanes.json")); err != nil {
		t.Fatal(err)
	}
	const before, after = "a\n<!-- table lanes.json half-queues -->\n", "<!-- end -->\nb <!-- end -->\n"
	once, err := fill(before+"old\n"+after, folder)
	if err != nil || !strings.HasPrefix(once, before+"| half queues |") || !strings.HasSuffix(once, "|\n"+after) || strings.Contains(once, "old") {
		t.Errorf("%v\n%s", err, once)
	}
	if twice, err := fill(once, folder); err != nil || twice != once {
		t.Errorf("%v\n%s", err, twice)
	}
	for _, bad := range []string{"<!-- table none.json bars -->\n<!-- end -->", "<!-- table lanes.json none -->\n<!-- end -->"} {
		if _, err := fill(bad, folder); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Each way that is compared is a competitor, and is in the table once it was measured.
func TestPeersTable(t *testing.T) {
	var r Results
	for _, p := range peers {
		if !slices.Contains(competitors.Names(competitors.All), p.name) {
			t.Errorf("there is no competitor %q", p.name)
		}
		for _, callers := range []int{1, 64} {
			r.Measurements = append(r.Measurements, contest.Measurement{Name: p.name, Callers: callers, Figure: measure.Figure{
				Rate: 10, P50: 2, CPU: measure.CPU{"bench": 1, "dtm": 2, "elsewhere": 4}}})
		}
	}
	lines := strings.Split(strings.TrimSpace(r.peersTable()), "\n")
	if len(lines) != len(peers)+2 || !strings.Contains(lines[2], "| 10.0 | 2.00 | 3.0 |") {
		t.Error(strings.Join(lines, "\n"))
	}
	if r.Measurements = r.Measurements[:1]; strings.Count(r.peersTable(), "\n") != 2 {
		t.Error("what was not measured at 64 callers has a row")
	}
}
