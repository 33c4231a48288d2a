// Package grants knows which rights a process's role needs in PostgreSQL: to read and write rows
// of Holdfast's tables, and to make nothing.
package grants

import (
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Right is what a role needs on a table, or on a function.
type Right struct {
	// Object is a table's name, or a function's with its arguments' types.
	Object string
	// Verbs are SELECT, INSERT, UPDATE, DELETE; a function's is EXECUTE.
	Verbs []string
}

// Function reports whether it is one on a function.
func (r Right) Function() bool { return strings.HasSuffix(r.Object, ")") }

// Of are the rights of a process. Retention locks the rows that it deletes, which takes UPDATE.
func Of() []Right {
	all := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	execute := []string{"EXECUTE"}
	return []Right{
		{"holdfast_outcomes", all}, {"holdfast_inbox", all}, {"holdfast_steps", all},
		{"holdfast_consumers", all},
		{"holdfast_identity", all[:1]}, {"holdfast_migrations", all[:1]},
		{"holdfast_check_back(text[], text, integer, bigint)", execute},
		{"holdfast_check_back(text[], text, integer, bigint, text)", execute},
	}
}

// audit is the table that only the console uses.
const audit = "holdfast_audit"

// Statements give a role the rights of a process on the tables in a schema, and take
// those on the console's audit away.
func Statements(schema, role string) []string {
	to := " TO " + pgx.Identifier{role}.Sanitize()
	in := pgx.Identifier{schema}.Sanitize()
	out := []string{"GRANT USAGE ON SCHEMA " + in + to + ";"}
	for _, r := range Of() {
		kind := "TABLE "
		if r.Function() {
			kind = "FUNCTION "
		}
		out = append(out, "GRANT "+strings.Join(r.Verbs, ", ")+" ON "+kind+in+"."+r.Object+to+";")
	}
	return append(out, "REVOKE ALL ON TABLE "+in+"."+audit+" FROM "+pgx.Identifier{role}.Sanitize()+";")
}

// denied is what PostgreSQL says, of tables and functions of ours.
var denied = regexp.MustCompile(`\bholdfast_[a-z_]+\b`)

// Lacking says which rights a role lacks, by PostgreSQL's words that permission is denied:
// those on the thing that they name. Empty: they name none of ours.
func Lacking(message string) string {
	name := denied.FindString(message)
	i := slices.IndexFunc(Of(), func(r Right) bool { return name != "" && strings.HasPrefix(r.Object+"(", name+"(") })
	if i < 0 {
		return ""
	}
	return strings.Join(Of()[i].Verbs, ", ") + " on " + name
}
