package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// hostile are entries that somebody else wrote parts of.
var hostile = []Entry{
	{Request: "1", Who: "ann", Role: "operator", Action: "saga retry", Target: "saga/orders/piece/1", Step: "pay", Reason: "the card works", Outcome: Asked},
	{Request: "1", Who: "ann", Role: "operator", Action: "saga retry", Target: "x\x00y\xff", Reason: "'; DROP TABLE holdfast_audit; --", Outcome: "retried",
		Detail: strings.Repeat("ü", 1<<20)},
}

// keeps: a log has what was added, the latest first.
func keeps(t *testing.T, l Log) {
	t.Helper()
	for _, e := range hostile {
		require.NoError(t, l.Add(t.Context(), e))
	}
	got, err := l.Last(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "x\uFFFDy\uFFFD", got[0].Target)
	require.Equal(t, hostile[1].Reason, got[0].Reason)
	require.LessOrEqual(t, len(got[0].Detail), maxText+len("…"))
	require.True(t, utf8.ValidString(got[0].Detail))
	require.False(t, got[1].At.IsZero())
	require.Greater(t, got[0].ID, got[1].ID)
	earlier, err := l.Last(t.Context(), 10, got[0].ID)
	require.NoError(t, err)
	require.Equal(t, got[1:], earlier)
	earlier, err = l.Last(t.Context(), 10, got[1].ID)
	require.NoError(t, err)
	require.Empty(t, earlier)
	got[1].At, got[1].ID = time.Time{}, 0
	require.Equal(t, hostile[0], got[1])
	one, err := l.Last(t.Context(), 1, 0)
	require.NoError(t, err)
	require.Len(t, one, 1)
}

func TestTable(t *testing.T) {
	db, err := gorm.Open(postgres.Open(stacktest.Database(t, stacktest.Shared(t))), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	table := NewTable(db, "holdfast")
	there, err := table.There(t.Context())
	require.NoError(t, err)
	require.False(t, there)
	err = table.Add(t.Context(), hostile[0])
	require.ErrorContains(t, err, "holdfast migrate")
	require.NoError(t, barrier.Migrate(t.Context(), db))
	there, err = table.There(t.Context())
	require.NoError(t, err)
	require.True(t, there)

	// A role that may add and read is enough.
	require.NoError(t, db.Exec(`CREATE ROLE watcher; GRANT SELECT, INSERT ON holdfast_audit TO watcher`).Error)
	t.Cleanup(func() { _ = db.Exec(`RESET ROLE; DROP OWNED BY watcher; DROP ROLE watcher`).Error })
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	require.NoError(t, db.Exec(`SET ROLE watcher`).Error)
	keeps(t, table)
	require.Error(t, db.Exec(`UPDATE holdfast_audit SET operator = 'bob'`).Error)
	require.Error(t, db.Exec(`DELETE FROM holdfast_audit`).Error)
	require.NoError(t, db.Exec(`RESET ROLE`).Error)

	other, err := NewTable(db, "another").Last(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Empty(t, other)
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	l := NewLines(&out, time.Now)
	keeps(t, l)
	n := 0
	for line := range strings.Lines(out.String()) {
		var read struct{ Audit Entry }
		require.NoError(t, json.Unmarshal([]byte(line), &read))
		require.Equal(t, "ann", read.Audit.Who)
		n++
	}
	require.Equal(t, 2, n)
	for range linesKept {
		require.NoError(t, l.Add(t.Context(), hostile[0]))
	}
	require.Len(t, l.last, linesKept)
	require.ErrorIs(t, NewLines(broken{}, time.Now).Add(t.Context(), hostile[0]), errBroken)
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }
