package barrier_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

func requireSame(t *testing.T, want, got []holdfast.Message) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.True(t, want[i].Equal(got[i]), "message %d: want %+v, got %+v", i, want[i], got[i])
	}
}

func TestChangedMessagesAreStoredExactly(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	bodies := map[string][]byte{
		"json": []byte(`{ "b":1,  "a":1.0, "a":2 }`), "nul": []byte("a\x00b"), "binary": every, "empty": {},
		"unicode": []byte("grüße \u2028 😀 \\u0000 <&>"), "invalid UTF-8": []byte("\xff\xfe"), "backslashes": []byte(`\x00\\'"$1?`),
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			db, _ := migrated(t)
			l := local("t1")
			l.Messages = append(l.Messages, holdfast.Message{ID: "t1.2", Topic: "order.billed", AllowUnrouted: true})
			before := holdfast.CloneMessages(l.Messages)
			want := holdfast.CloneMessages(l.Messages)
			want[0].Body, want[0].Key, want[0].ContentType = body, "K-\u00e9", "application/octet-stream"
			want[0].Headers = map[string]string{"a": "\x00 1", "c": "\u2028"}
			r := barrier.Run(t.Context(), db, l, func(_ context.Context, _ *gorm.DB, ms []*holdfast.Message) error {
				ms[0].Headers["a"] = "\x00 1" // in place: the caller's map must not change
				ms[0].Headers["c"] = "\u2028"
				delete(ms[0].Headers, "b")
				m := want[0].Clone()
				ms[0] = &m
				return nil
			})
			require.NoError(t, r.Err)
			require.True(t, r.Changed)
			requireSame(t, before, l.Messages)
			requireSame(t, want, r.Messages)
			row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
			require.NoError(t, err)
			requireSame(t, want, row.Messages)
			requireSame(t, want, requireRow(t, db, "t1", holdfast.Commit).Messages)
			again := barrier.Run(t.Context(), db, l, placing("t1"))
			require.True(t, again.Repeated && again.Changed)
			requireSame(t, want, again.Messages)
		})
	}
}

func TestChangesInPlace(t *testing.T) {
	db, _ := migrated(t)
	l := local("t1")
	r := barrier.Run(t.Context(), db, l, func(_ context.Context, _ *gorm.DB, ms []*holdfast.Message) error {
		ms[0].Body[0] = 'X'
		ms[0].Headers["a"] = "X"
		return nil
	})
	require.NoError(t, r.Err)
	require.True(t, r.Changed)
	requireSame(t, local("t1").Messages, l.Messages)
	require.Equal(t, "X", r.Messages[0].Headers["a"])
}

func TestForbiddenChanges(t *testing.T) {
	cases := map[string]struct {
		change func(ms []*holdfast.Message)
		is     error
		says   string
	}{
		"topic":         {func(ms []*holdfast.Message) { ms[0].Topic = "other" }, holdfast.ErrInvalid, "changed Topic of message 1"},
		"ID":            {func(ms []*holdfast.Message) { ms[0].ID = "other" }, holdfast.ErrInvalid, "changed ID of message 1"},
		"AllowUnrouted": {func(ms []*holdfast.Message) { ms[0].AllowUnrouted = true }, holdfast.ErrInvalid, "changed AllowUnrouted"},
		"nil":           {func(ms []*holdfast.Message) { ms[0] = nil }, holdfast.ErrInvalid, "nil"},
		"body":          {func(ms []*holdfast.Message) { ms[0].Body = []byte(strings.Repeat("x", 101)) }, holdfast.ErrTooLarge, "the limit is 100"},
		"header":        {func(ms []*holdfast.Message) { ms[0].Headers["holdfast-x"] = "" }, holdfast.ErrInvalid, "Holdfast's own"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			db, _ := migrated(t)
			l := local("t1")
			l.MaxBody = 100
			r := barrier.Run(t.Context(), db, l, func(_ context.Context, tx *gorm.DB, ms []*holdfast.Message) error {
				c.change(ms)
				return placeOrder(tx, "t1")
			})
			require.Equal(t, holdfast.Rollback, r.Resolution)
			require.ErrorIs(t, r.Err, c.is)
			require.ErrorContains(t, r.Err, c.says)
			require.Zero(t, orders(t, db, "t1"))
			requireRow(t, db, "t1", holdfast.Rollback)
		})
	}
}

func TestSplit(t *testing.T) {
	db, _ := migrated(t)
	ms := local("t1").Messages
	ms[0].Body = []byte("changed\x00")

	repeated, err := barrier.Insert(t.Context(), db, "t1", group)
	require.ErrorIs(t, err, holdfast.ErrInvalid, "not in a transaction")
	require.False(t, repeated)
	require.ErrorIs(t, barrier.StoreMessages(t.Context(), db, "t1", ms), holdfast.ErrInvalid)
	requireNoRow(t, db, "t1")

	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		repeated, err := barrier.Insert(t.Context(), tx, "t1", group)
		require.NoError(t, err)
		require.False(t, repeated)
		require.ErrorIs(t, barrier.StoreMessages(t.Context(), tx, "t1", nil), holdfast.ErrInvalid)
		require.NoError(t, tx.Transaction(func(tx *gorm.DB) error { // a savepoint
			return barrier.StoreMessages(t.Context(), tx, "t1", ms)
		}))
		return barrier.StoreMessages(t.Context(), tx, "t1", ms)
	}))
	requireSame(t, ms, requireRow(t, db, "t1", holdfast.Commit).Messages)

	tx := db.Begin()
	repeated, err = barrier.Insert(t.Context(), tx, "t1", group)
	require.NoError(t, err)
	require.True(t, repeated)
	ms[0].Body = []byte("too late")
	require.ErrorIs(t, barrier.StoreMessages(t.Context(), tx, "t1", ms), holdfast.ErrNoOutcome, "a committed row never changes")
	require.ErrorIs(t, barrier.StoreMessages(t.Context(), tx, "t9", ms), holdfast.ErrNoOutcome)
	require.NoError(t, tx.Commit().Error)
	require.Equal(t, []byte("changed\x00"), requireRow(t, db, "t1", holdfast.Commit).Messages[0].Body)

	_, err = barrier.CheckBack(t.Context(), db, "t2", group, 0)
	require.NoError(t, err)
	tx = db.Begin()
	defer tx.Rollback()
	_, err = barrier.Insert(t.Context(), tx, "t2", group)
	require.ErrorIs(t, err, holdfast.ErrAlreadyResolved)
	_, err = barrier.Insert(t.Context(), tx, "t1", "payments")
	require.ErrorContains(t, err, "belongs to producer group")
	_, err = barrier.Insert(t.Context(), tx, "bad id", group)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
}

// TestKeptMessagesAreStored: with Keep, what is delivered is what committed, also
// where another half message says otherwise.
func TestKeptMessagesAreStored(t *testing.T) {
	db, _ := migrated(t)
	l := local("t1")
	l.Keep = true
	r := barrier.Run(t.Context(), db, l, placing("t1"))
	require.NoError(t, r.Err)
	require.False(t, r.Changed)
	row, err := barrier.CheckBack(t.Context(), db, "t1", group, 0)
	require.NoError(t, err)
	requireSame(t, l.Messages, row.Messages)
	other := l
	other.Messages = holdfast.CloneMessages(l.Messages)
	other.Messages[0].Body = []byte("something else")
	again := barrier.Run(t.Context(), db, other, placing("t1"))
	require.True(t, again.Repeated)
	requireSame(t, l.Messages, again.Messages)
}
