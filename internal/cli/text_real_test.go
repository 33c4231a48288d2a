package cli

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

// TestAnyTextIsFound: whatever UTF-8 an ID and a key are, the program finds what has
// them, by either, by its workflow's ID, and in lists.
func TestAnyTextIsFound(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for _, text := range []string{"Zürich-1", `a"b\c`, "50%_x%", "$(id)'`;", "a\u202eb", "=/x=FC", "語", "*?[x]"} {
		id, key := s.group+"ü"+text, s.group+text
		if text[1] == '/' {
			id = s.group + "=FC"
		}
		r, err := s.w.Send(t.Context(), holdfast.Message{ID: id, Topic: "order.placed", Key: key},
			func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
		require.NoError(t, err, text)
		s.list(func(rows []transactions.Row) bool {
			return len(rows) == 1 && rows[0].Tx == id && slices.Equal(rows[0].Keys, []string{key})
		}, "--key", key)
		for _, name := range []string{id, key, r.WorkflowID, "tx/" + s.group + "/" + id} {
			var d transactions.Detail
			s.decode(&d, "tx", "show", name)
			require.Equal(t, id, d.Tx, name)
			require.Equal(t, r.WorkflowID, d.WorkflowID)
		}
	}
	for _, name := range []string{"\xff", "a\nb", "a\x00b"} {
		for _, of := range []string{"tx", "dead", "saga"} {
			r := s.holdfast(of, "show", name)
			require.Equal(t, frame.ExitError, r.status, "%s %q", of, name)
			require.Contains(t, r.err, fmt.Sprintf("has the ID or the key %q", name))
			r = s.holdfast(of, "list", "--key", name)
			require.NotEqual(t, frame.ExitOK, r.status, "%s %q", of, name)
		}
	}
}
