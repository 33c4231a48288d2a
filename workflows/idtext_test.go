package workflows_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// maxWorkflowID is Temporal's limit, in bytes.
const maxWorkflowID = 1000

// TestPlainIDs: what is printable ASCII stands in an ID as it always did, so that what
// runs is found.
func TestPlainIDs(t *testing.T) {
	for _, key := range []string{"A-1", "a=b", "=C3=BC", "=", "=64", "%C3%BC", `"\`, "'$(x)", "undo", "~!@#^&*()[]{}|;:,.<>?`+_"} {
		require.Equal(t, "saga/orders/pay/"+key, workflows.SagaID("", "orders", "pay", key))
		require.Equal(t, "tx/orders/"+key, workflows.WorkflowID("", "orders", key))
		require.Equal(t, "dead/payments/"+key, workflows.DeadLetterID("", letterOf("payments", key)))
	}
	require.Equal(t, "saga/orders/pay/Rechnung 7", workflows.SagaID("", "orders", "pay", "Rechnung 7"))
	require.Equal(t, "dead/payments/a b/c", workflows.DeadLetterID("", letterOf("payments", "a b/c")))
}

func letterOf(owner, id string) holdfast.DeadLetter {
	return holdfast.DeadLetter{ID: id, Queue: owner}
}

// TestTextIDs: whatever is in a key, its workflow's ID is what a gRPC header takes, and
// says the key.
func TestTextIDs(t *testing.T) {
	require.Equal(t, "saga/orders/pay/=/Z=C3=BCrich-1", workflows.SagaID("", "orders", "pay", "Zürich-1"))
	require.Equal(t, "saga/orders/pay/=/Rechnung=207=2F2026", workflows.SagaID("", "orders", "pay", "Rechnung 7/2026"))
	for _, key := range []string{"Rechnung 7/2026", "/", "//", "a/b/c", "x/undo", "/undo", "undo/", " ", " a ", "=/", "a/=2F", strings.Repeat("/", holdfast.MaxName)} {
		checkSagaID(t, key)
	}
	require.Equal(t, "shop:tx/orders/=/=E2=82=AC=3D1", workflows.WorkflowID("shop", "orders", "€=1"))
	require.Equal(t, "dead/=/K=C3=B6ln=2Fa=20b/x", workflows.DeadLetterID("", letterOf("Köln/a b", "x")))
	for _, text := range []string{"Zürich-1", "注文-1", "a\u202eb", "ü/undo", "=/x", "=/=C3=BC", "=64/eA", "\xff\x00\n", "é\t", "🚀", "=ü=", "undoü",
		strings.Repeat("ü", 100), strings.Repeat("語", 85), strings.Repeat("x", 250) + "ü", "a/ü/b"} {
		checkID(t, text, text)
	}
	for _, id := range []string{"saga/g/n/=/abc", "saga/g/n/=/", "saga/g/n/=64/", "saga/g/n/=/=C3=BC/x"} {
		_, ok := workflows.ParseID(id)
		require.False(t, ok, id)
	}
	longest := strings.Repeat("語", holdfast.MaxName/3)
	name := strings.Repeat("n", holdfast.MaxName)
	require.LessOrEqual(t, len(workflows.SagaUndoID(workflows.SagaID(strings.Repeat("p", 40), name, name, longest))), maxWorkflowID)
	require.LessOrEqual(t, len(workflows.DeadLetterID(strings.Repeat("p", 40), letterOf(strings.Repeat("語", 85), strings.Repeat("語", 106)))), maxWorkflowID)
}

// checkParsed requires that an ID can be sent, says what it is, and is written so again.
func checkParsed(t *testing.T, id string, want workflows.ID) {
	t.Helper()
	for _, c := range []byte(id) {
		require.True(t, c >= ' ' && c <= '~', "%q is no text for a header", id)
	}
	got, ok := workflows.ParseID(id)
	require.True(t, ok, "%q", id)
	require.Equal(t, want, got)
	require.Equal(t, id, got.String())
}

// checkSagaID requires that a saga's key comes back out of both its IDs.
func checkSagaID(t *testing.T, key string) {
	t.Helper()
	id := workflows.SagaID("shop", "orders", "pay", key)
	checkParsed(t, id, workflows.ID{Prefix: "shop", Kind: "saga", Owner: "orders", Name: "pay", Key: key})
	checkParsed(t, workflows.SagaUndoID(id), workflows.ID{Prefix: "shop", Kind: "saga", Owner: "orders", Name: "pay", Key: key, Undo: true})
}

// checkID requires that a key and an owner come back out of the IDs that they are in.
func checkID(t *testing.T, owner, key string) {
	t.Helper()
	check := func(id string, want workflows.ID) {
		t.Helper()
		checkParsed(t, id, want)
	}
	check(workflows.WorkflowID("", "orders", key), workflows.ID{Kind: "tx", Owner: "orders", Key: key})
	checkSagaID(t, key)
	d := letterOf(owner, key)
	check(workflows.DeadLetterID("", d), workflows.ID{Kind: "dead", Owner: owner, Key: key})
	d.Failure.Consumer = "payments"
	id := workflows.DeadLetterID("shop", d)
	check(id, workflows.ID{Prefix: "shop", Kind: "dead", Owner: "payments", Key: key})
	require.True(t, strings.HasPrefix(id, workflows.DeadLetterBegins("shop", "payments")[0]))
}

func FuzzTextIDs(f *testing.F) {
	for _, s := range []string{"A-1", "Zürich", "=/ü", "=64/", "\xff", "", "ü/undo"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if owner := key; key != "" && utf8.ValidString(key) {
			if !strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
				owner = "q" // a plain owner ends at its first slash
			}
			if strings.HasPrefix(key, "undo") || strings.HasSuffix(key, "/undo") {
				return
			}
			checkID(t, owner, key)
		}
	})
}
