package barrier_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// otherThan requires that err is about another database than have.
func otherThan(t *testing.T, err error, have, want string) {
	t.Helper()
	var other *barrier.OtherDatabaseError
	require.ErrorAs(t, err, &other)
	require.Equal(t, have, other.Have)
	require.Equal(t, want, other.Want)
	require.ErrorContains(t, err, "search_path")
}

func TestIdentity(t *testing.T) {
	db, base := migrated(t)
	here, err := barrier.Identity(t.Context(), db)
	require.NoError(t, err)
	require.NoError(t, uuid.Validate(here))
	require.NoError(t, barrier.Migrate(t.Context(), db))
	again, err := barrier.Identity(t.Context(), db)
	require.NoError(t, err)
	require.Equal(t, here, again)
	require.Error(t, db.Exec("INSERT INTO holdfast_identity (id) VALUES ('x')").Error, "one row")

	// Another schema of the same database is another one.
	u, err := url.Parse(base)
	require.NoError(t, err)
	u.RawQuery += "&search_path=tenant"
	require.NoError(t, db.Exec("CREATE SCHEMA tenant").Error)
	tenant := open(t, u.String(), nil)
	require.NoError(t, barrier.Migrate(t.Context(), tenant))
	there, err := barrier.Identity(t.Context(), tenant)
	require.NoError(t, err)
	require.NotEqual(t, here, there)

	for name, db := range map[string]struct{ url string }{"plain": {base}, "simple": {base + "&default_query_exec_mode=simple_protocol"}} {
		t.Run(name, func(t *testing.T) {
			db := open(t, db.url, nil)
			require.NoError(t, barrier.Run(t.Context(), db, local("t-"+name), placing("t-"+name)).Err)
			for _, id := range []string{"t-" + name, "none-" + name} {
				row, err := barrier.CheckBack(t.Context(), barrier.Expect(db, there), id, group, 0)
				otherThan(t, err, here, there)
				require.Equal(t, holdfast.Unknown, row.Resolution)
				_, err = barrier.Decide(t.Context(), barrier.Expect(db, there), id, group, holdfast.Commit, 0)
				otherThan(t, err, here, there)
				rows, errs := barrier.CheckBackAll(t.Context(), barrier.Expect(db, there), []string{id}, group, 0)
				otherThan(t, errs[0], here, there)
				require.Equal(t, holdfast.Unknown, rows[0].Resolution)
			}
			requireNoRow(t, db, "none-"+name)
			row, err := barrier.CheckBack(t.Context(), barrier.Expect(db, here), "t-"+name, group, 0)
			require.NoError(t, err)
			require.Equal(t, holdfast.Commit, row.Resolution)
			rows, errs := barrier.CheckBackAll(t.Context(), barrier.Expect(db, here), []string{"t-" + name, "none-" + name}, group, 0)
			require.NoError(t, errs[0])
			require.NoError(t, errs[1])
			require.Equal(t, holdfast.Commit, rows[0].Resolution)
			require.Equal(t, holdfast.Rollback, rows[1].Resolution)
			row, err = barrier.CheckBack(t.Context(), barrier.Expect(db, ""), "none-"+name, group, 0)
			require.NoError(t, err)
			require.Equal(t, holdfast.Rollback, row.Resolution)
		})
	}

	made, err := barrier.NewIdentity(t.Context(), tenant)
	require.NoError(t, err)
	require.NotEqual(t, there, made)
	require.NoError(t, tenant.Exec("DELETE FROM holdfast_identity").Error)
	_, err = barrier.Identity(t.Context(), tenant)
	require.ErrorContains(t, err, "--new-identity")
	_, errs := barrier.CheckBackAll(t.Context(), barrier.Expect(tenant, made), []string{"t"}, group, 0)
	otherThan(t, errs[0], "", made)
	_, err = barrier.CheckBack(t.Context(), barrier.Expect(tenant, made), "t", group, 0)
	otherThan(t, err, "", made)
	_, err = barrier.NewIdentity(t.Context(), tenant)
	require.NoError(t, err)
	_, err = barrier.Identity(t.Context(), tenant)
	require.NoError(t, err)
}

// Whoever could read the outcome rows before the migration can read the identity
// after it.
func TestIdentityIsReadableByReaders(t *testing.T) {
	db, _ := migrated(t)
	require.NoError(t, db.Exec(`CREATE ROLE reader_of_identity`).Error)
	defer db.Exec(`DROP OWNED BY reader_of_identity; DROP ROLE reader_of_identity`)
	require.NoError(t, db.Exec(`GRANT SELECT, INSERT ON holdfast_outcomes TO reader_of_identity`).Error)
	down(t, db, 3)
	require.NoError(t, barrier.Migrate(t.Context(), db))
	var may bool
	require.NoError(t, db.Raw(`SELECT has_table_privilege('reader_of_identity', 'holdfast_identity', 'SELECT')`).Scan(&may).Error)
	require.True(t, may)
}

// Rows whose ID was made a moment ago stay, whatever created_at says.
func TestRetentionAsksTheID(t *testing.T) {
	db, _ := migrated(t)
	v7 := func(at time.Time) string {
		id := uuid.Must(uuid.NewV7())
		ms := at.UnixMilli()
		for i := range 6 {
			id[i] = byte(ms >> (40 - 8*i))
		}
		return id.String()
	}
	now := time.Now()
	young, old, future := v7(now), v7(now.Add(-40*24*time.Hour)), v7(now.Add(40*24*time.Hour))
	for _, id := range []string{young, young + ".2", old, future, "A-17", "x" + young} {
		require.NoError(t, db.Exec(`INSERT INTO holdfast_outcomes (tx_id, producer_group, resolution, created_at) VALUES (?, 'orders', 'commit', now() - interval '31 days')`, id).Error)
		require.NoError(t, db.Exec(`INSERT INTO holdfast_inbox (consumer, message_id, created_at) VALUES ('c', ?, now() - interval '31 days')`, id).Error)
		require.NoError(t, db.Exec(`INSERT INTO holdfast_steps (owner, step, op, created_at) VALUES (?, 's', 'do', now() - interval '31 days')`, "saga/orders/trek/"+id).Error)
	}
	const month = 30 * 24 * time.Hour
	n, err := barrier.DeleteOutcomes(t.Context(), db, month, 0)
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	n, err = barrier.DeleteInbox(t.Context(), db, month, 2)
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	n, err = barrier.DeleteSteps(t.Context(), db, month, 0)
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	for _, query := range []string{"SELECT tx_id FROM holdfast_outcomes", "SELECT message_id FROM holdfast_inbox", "SELECT substr(owner, 18) FROM holdfast_steps"} {
		var left []string
		require.NoError(t, db.Raw(query).Scan(&left).Error)
		require.ElementsMatch(t, []string{young, young + ".2"}, left)
	}
}
