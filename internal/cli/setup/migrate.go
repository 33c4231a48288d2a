package setup

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/grants"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Migration is what `holdfast migrate --json` writes.
type Migration struct {
	From   int64 `json:"from"`
	To     int64 `json:"to"`
	Latest int64 `json:"latest"`
	// Identity is the database's identity, of tables at this version.
	Identity string `json:"identity,omitempty"`
}

// NewMigrate returns the command holdfast migrate.
func NewMigrate(a *frame.App) *cobra.Command {
	var url, role, schema string
	var status, newIdentity, asJSON bool
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Create Holdfast's tables, or bring them to this version",
		Long: `Create Holdfast's tables in the first schema of the database's search_path, or
bring them to this program's version. It may be run again, and by several at
once; the applications' own tables are not touched.

The tables have an identity, which half messages, workflows and sagas carry:
only processes with that database answer for them. A replica, a server that
took over and a restored backup keep it. A copy that is to serve another
environment needs another one: --new-identity. Stop the copy's processes
before. Never use it on a database whose own transactions or sagas are open:
nobody could answer for them.

--print-grants ROLE prints the SQL that gives the role of processes what they
need in these tables, and no more; nothing is done, and no database is asked.
Run it after each migration, as the tables' owner.

JSON: from and to (versions before and after), latest (this program's version),
identity.`,
		Example: "  holdfast migrate --database-url postgres://shop:secret@localhost/shop\n  holdfast migrate --status\n" +
			"  holdfast migrate --print-grants orders | psql -1 -v ON_ERROR_STOP=1 \"$DATABASE_URL\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("print-grants") {
				return printGrants(a, schema, role)
			}
			if url != "" {
				a.DatabaseURL = url
			}
			db, closeDB, err := a.Database()
			if err != nil {
				return err
			}
			defer closeDB()
			ctx, cancel := a.Bounded(cmd.Context(), reach.DefaultTimeout)
			defer cancel()
			m, err := migrate(ctx, db, status)
			if err == nil && newIdentity {
				m.Identity, err = barrier.NewIdentity(ctx, db)
			} else if err == nil && m.To >= m.Latest {
				m.Identity, err = barrier.Identity(ctx, db)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return text.JSON(a.Out, m)
			}
			text.Printf(a.Out, "%s\n", m.sentence())
			if newIdentity {
				text.Printf(a.Out, "The database has another identity now: %s. Start its processes again.\n", m.Identity)
			}
			return nil
		},
	}
	c.Flags().StringVar(&url, "database-url", "", "the database (default $DATABASE_URL)")
	c.Flags().BoolVar(&status, "status", false, "only say which version the tables have")
	c.Flags().BoolVar(&newIdentity, "new-identity", false, "give a copy of another environment's database an identity "+
		"of its own")
	c.Flags().StringVar(&role, "print-grants", "", "print what a process's role needs, and do nothing")
	c.Flags().StringVar(&schema, "schema", "public", "the tables' schema, for --print-grants")
	c.MarkFlagsMutuallyExclusive("status", "new-identity", "print-grants")
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return c
}

// migrate migrates, unless only the status is asked for.
func migrate(ctx context.Context, db *gorm.DB, status bool) (Migration, error) {
	var m Migration
	var err error
	if m.From, m.Latest, err = barrier.Status(ctx, db); err != nil {
		return m, err
	}
	m.To = m.From
	if status || m.From >= m.Latest {
		return m, nil
	}
	if err := barrier.Migrate(ctx, db); err != nil {
		return m, err
	}
	m.To, _, err = barrier.Status(ctx, db)
	return m, err
}

func (m Migration) sentence() string {
	switch {
	case m.To > m.Latest:
		return fmt.Sprintf("The tables are at version %d, newer than this program's %d.", m.To, m.Latest)
	case m.From != m.To:
		return fmt.Sprintf("Migrated from version %d to %d.", m.From, m.To)
	case m.To == m.Latest:
		return fmt.Sprintf("The tables are at version %d: up to date.", m.To)
	case m.To == 0:
		return fmt.Sprintf("The tables are not there; this program needs version %d: run `holdfast migrate`.", m.Latest)
	}
	return fmt.Sprintf("The tables are at version %d, this program needs %d: run `holdfast migrate`.", m.To, m.Latest)
}

func printGrants(a *frame.App, schema, role string) error {
	if role == "" || schema == "" {
		return text.Usagef("--print-grants: name the role, and --schema the schema")
	}
	for _, statement := range grants.Statements(schema, role) {
		_, _ = fmt.Fprintln(a.Out, statement) // as psql is to read it
	}
	return nil
}
