package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/grants"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/shell"
)

// settings are those of PostgreSQL's on which the guarantees stand, as this session has them:
// a role or a database may have its own.
type settings struct {
	Fsync, SynchronousCommit, FullPageWrites string
	Standbys                                 string
	ReadOnly                                 string
	Recovery                                 bool // it is a standby
	// Times in milliseconds; 0: none.
	Statement, Idle, Transaction int64
}

const readSettings = `SELECT current_setting('fsync') AS fsync,
current_setting('synchronous_commit') AS synchronous_commit,
current_setting('full_page_writes') AS full_page_writes, current_setting('synchronous_standby_names') AS standbys,
current_setting('default_transaction_read_only') AS read_only, pg_is_in_recovery() AS recovery,
coalesce((SELECT setting FROM pg_settings WHERE name = 'statement_timeout'), '0')::bigint AS statement,
coalesce((SELECT setting FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'), '0')::bigint AS idle,
coalesce((SELECT setting FROM pg_settings WHERE name = 'transaction_timeout'), '0')::bigint AS transaction`

const (
	// leastStatement is what a statement of Holdfast's may take, such as a check-back of
	// many transactions.
	leastStatement = 5 * time.Second
	// leastTransaction is what a handler may take by default (Consumer.Timeout); a local
	// transaction may take longer.
	leastTransaction = time.Minute
)

// settings judges the settings of the database.
func (f *Findings) settings(ctx context.Context, db *gorm.DB) {
	var s settings
	if err := db.WithContext(ctx).Raw(readSettings).Scan(&s).Error; err != nil {
		f.add(text.LevelWarning, "settings", "run doctor again", "unknown: %s", text.Of(err))
		return
	}
	f.judge(s)
}

func (f *Findings) judge(s settings) {
	const check = "settings"
	const see = "; see docs/postgresql.md"
	before := len(f.All)
	if s.Recovery {
		f.add(text.LevelProblem, check, "connect to the primary: name it in DATABASE_URL, or all servers, with "+
			"target_session_attrs=read-write"+see,
			"this server is a standby (pg_is_in_recovery): nothing can be written here, and it may lack the last commits, so "+
				"that nobody may answer for a transaction out of it")
	}
	// Where commits wait for another server, that one may keep them: Neon's storage, for example.
	waits := s.Standbys != "" && !slices.Contains([]string{"off", "local"}, s.SynchronousCommit)
	switch {
	case s.Fsync != "off":
	case waits:
		f.add(text.LevelWarning, check, "set fsync = on, and reload, unless the provider's storage keeps commits"+see,
			"fsync is off, and commits wait for %s: a crash of the server's machine loses commits, unless that keeps them",
			s.Standbys)
	default:
		f.add(text.LevelProblem, check, "set fsync = on, and reload"+see,
			"fsync is off: a crash of the server's machine may lose or damage what was committed, so that a message is "+
				"delivered whose transaction is gone, or is never delivered")
	}
	switch {
	case s.SynchronousCommit == "off":
		f.add(text.LevelProblem, check, "set synchronous_commit = on, in postgresql.conf, or by ALTER ROLE or "+
			"ALTER DATABASE"+see,
			"synchronous_commit is off: a crash of the server loses the last commits, so that a message is delivered whose "+
				"transaction is gone, and a consumer's effect is lost with its inbox row")
	case s.Standbys != "" && slices.Contains([]string{"local", "remote_write"}, s.SynchronousCommit):
		f.add(text.LevelWarning, check, "set synchronous_commit = on"+see,
			"synchronous_commit is %s: a standby that takes over may lack the last commits", s.SynchronousCommit)
	}
	if s.FullPageWrites == "off" {
		f.add(text.LevelWarning, check, "set full_page_writes = on, unless the file system or the provider's storage "+
			"writes pages whole"+see,
			"full_page_writes is off: a crash of the server's machine may damage pages")
	}
	if s.ReadOnly == "on" {
		f.add(text.LevelWarning, check, "set it off for the processes' role"+see,
			"default_transaction_read_only is on: a process with this role cannot write its rows")
	}
	least := func(name string, ms int64, least time.Duration, what string) {
		if d := time.Duration(ms) * time.Millisecond; d > 0 && d < least {
			f.add(text.LevelWarning, check, fmt.Sprintf("set it to %v or more for this role, or 0: Holdfast has limits of "+
				"its own"+see, least), "%s is %v: %s", name, d, what)
		}
	}
	least("statement_timeout", s.Statement, leastStatement,
		"a check-back of many transactions may be cancelled, again and again")
	least("idle_in_transaction_session_timeout", s.Idle, leastTransaction,
		"a handler or a closure that does something else for so long loses its transaction")
	least("transaction_timeout", s.Transaction, leastTransaction,
		"a handler or a closure that takes so long loses its transaction")
	if len(f.All) == before {
		f.ok(check, "commits are kept (fsync, synchronous_commit), and no limit is too short")
	}
}

// rights finds what the role of this session may not, and a process needs. A role that can
// change nothing is no process's: the console's, for example.
func (f *Findings) rights(ctx context.Context, db *gorm.DB) {
	const check = "rights"
	var role string
	if err := db.WithContext(ctx).Raw("SELECT current_user").Scan(&role).Error; err != nil {
		f.add(text.LevelWarning, check, "run doctor again", "unknown: %s", text.Of(err))
		return
	}
	var lacks []string
	writes := false
	for _, r := range grants.Of() {
		question := "SELECT has_table_privilege(?, ?)"
		if r.Function() {
			question = "SELECT has_function_privilege(?, ?)"
		}
		var missing []string
		for _, verb := range r.Verbs {
			var has bool
			if err := db.WithContext(ctx).Raw(question, r.Object, verb).Scan(&has).Error; err != nil {
				f.add(text.LevelWarning, check, "run doctor again", "%s on %s: unknown: %s", verb, r.Object, text.Of(err))
				return
			}
			if !has {
				missing = append(missing, verb)
			}
			writes = writes || has && verb != "SELECT" && verb != "EXECUTE"
		}
		if len(missing) > 0 {
			lacks = append(lacks, strings.Join(missing, ", ")+" on "+r.Object)
		}
	}
	if !writes {
		f.ok(check, "role %s only reads: doctor sees with a process's DATABASE_URL whether that has what it needs", role)
		return
	}
	if len(lacks) > 0 {
		f.add(text.LevelProblem, check,
			"have the tables' owner run what this prints: "+shell.Command("holdfast", "migrate", "--print-grants", role),
			"role %s lacks %s: a process with it does not get on", role, strings.Join(lacks, "; "))
		return
	}
	f.ok(check, "role %s has what a process needs", role)
}

// largestRecord is a little more than the largest record of the default limits: a half message
// whose bodies, in base64, and headers are as large as they may be.
const largestRecord = 2 * holdfast.MaxBody

// messageSize judges RabbitMQ's max_message_size by what became of a record of that size.
func (f *Findings) messageSize(err error) {
	const check = "max_message_size"
	switch {
	case errors.Is(err, holdfast.ErrTooLarge):
		f.add(text.LevelProblem, check, "raise max_message_size in rabbitmq.conf to 4194304 or more (its default is more "+
			"than that), or lower Tuning.MaxBody; see docs/production.md", "%s", text.Of(err))
	case err != nil:
		f.add(text.LevelWarning, check, "run doctor again", "unknown: %s", text.Of(err))
	default:
		f.ok(check, "records of %d KiB are taken", largestRecord>>10)
	}
}
