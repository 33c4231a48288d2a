package cli

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestPrintRows(t *testing.T) {
	now := began.Add(90 * time.Minute)
	var out bytes.Buffer
	require.NoError(t, printRows(&out, []row{
		{Tx: "01927c4e-6f0e-7cc3-98c4-dc0c0c07398f", State: "parked", Topics: []string{"order.placed"}, Keys: []string{"A-1\x1b[2J"}, Started: began, WorkflowID: "tx/orders/01927c4e-6f0e-7cc3-98c4-dc0c0c07398f"},
		{State: "running", Topics: []string{"a", "b", "c"}, Started: now.Add(-3 * time.Second), WorkflowID: "cohort/orders/7"},
	}, now))
	golden(t, "list.txt", out.String())

	out.Reset()
	require.NoError(t, printRows(&out, nil, now))
	require.Equal(t, "No transactions.\n", out.String())
}

func TestPrintDetail(t *testing.T) {
	closed := began.Add(time.Minute)
	d := detail{row: row{Tx: "1", Group: "orders", State: "committed", Started: began, Closed: &closed, WorkflowID: "tx/orders/1", RunID: "r"},
		UI: uiLink("http://ui/", "default", "tx/orders/1", "r")}
	d.Transactions = []workflows.MemberStatus{{ID: "1", State: workflows.Committed, Resolution: holdfast.Commit, Decided: "ann: the bank says so", Checks: 2, Unreached: 1}}
	d.Messages = []messageDetail{
		newMessageDetail(holdfast.Message{ID: "1.1", Topic: "order.placed", Key: "A-1", ContentType: "application/json", Body: []byte("{\n\t\"a\": 1\n}")}, true),
		newMessageDetail(holdfast.Message{ID: "1.2", Topic: "order.counted", Body: []byte{0xff, 0}}, true),
	}
	d.Steps = []step{{At: began, Kind: "workflow", Name: "started", Summary: "transaction: order.placed"}}
	var out bytes.Buffer
	require.NoError(t, d.print(&out, closed.Add(time.Hour)))
	golden(t, "show.txt", out.String())

	d.row.Tx, d.Unknown = "", "no process of group orders answered"
	d.Transactions = append(d.Transactions, workflows.MemberStatus{ID: "2", State: workflows.Parked, Reason: "undecided", Keys: []string{"k", "l"}})
	d.Messages, d.Closed, d.Cut, d.UI = nil, nil, true, ""
	out.Reset()
	require.NoError(t, d.print(&out, closed.Add(time.Hour)))
	golden(t, "show-cohort.txt", out.String())
}

func TestBodiesAreShownOnlyWhenAskedFor(t *testing.T) {
	m := newMessageDetail(holdfast.Message{Body: []byte("secret")}, false)
	require.Equal(t, 6, m.Size)
	require.Empty(t, m.Text)
	require.Empty(t, m.Base64)
}

func TestUILink(t *testing.T) {
	require.Empty(t, uiLink("", "default", "tx/a/b", "r"))
	require.Equal(t, "http://ui/namespaces/shop.x/workflows/tx%2Forders%2Fa%3Fb/r/history", uiLink("http://ui/", "shop.x", "tx/orders/a?b", "r"))
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 90 * time.Minute: "1h30m", 50 * time.Hour: "2d02h",
	} {
		require.Equal(t, want, age(d))
	}
}

func TestPrintDiagnosis(t *testing.T) {
	d := diagnosis{Findings: []finding{
		{"RabbitMQ", "version", levelOK, "RabbitMQ 3.10.8", ""},
		{"RabbitMQ", "dead letters", levelWarning, "3 wait in holdfast.dead", "look at them"},
		{"Temporal", "connection", levelProblem, "refused", "start it"},
	}}
	var out bytes.Buffer
	require.NoError(t, printDiagnosis(&out, d, false))
	golden(t, "doctor.txt", out.String())
	out.Reset()
	require.NoError(t, printDiagnosis(&out, d, true))
	golden(t, "doctor-colours.txt", out.String())
}

// What others wrote cannot steer the terminal, in however many pieces it comes.
func TestPlainOutput(t *testing.T) {
	evil := "a\x1b[2J\x1b]0;title\x07b\r\u009b1mc\u202egpj.exe\u2066\xff\u200f é\t\n"
	for size := 1; size <= len(evil); size++ {
		var out bytes.Buffer
		w := plainOut(&out)
		for text := []byte(evil); len(text) > 0; text = text[min(size, len(text)):] {
			n, err := w.Write(text[:min(size, len(text))])
			require.NoError(t, err)
			require.Equal(t, min(size, len(text)), n)
		}
		require.Equal(t, "a[2J]0;titleb1mcgpj.exe é\t\n", out.String(), size)
	}
	var out bytes.Buffer
	w := plainOut(plainOut(&out))
	printf(w, "%s|", palette(true).paint(levelProblem, "word"))
	require.Equal(t, "\x1b[31mword\x1b[0m|", out.String(), "our own colours")
	require.Equal(t, io.Writer(&out), raw(w))

	out.Reset()
	require.NoError(t, printJSON(w, map[string]string{"key": "\x1b\u202e\u009b<é"}))
	require.Equal(t, "{\n  \"key\": \"\\u001b\\u202e\\u009b<é\"\n}\n", out.String(), "programs get all of it")
}
