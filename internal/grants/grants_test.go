package grants

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatements(t *testing.T) {
	all := strings.Join(Statements(`my"schema`, `a"b; DROP TABLE x`), "\n")
	require.Contains(t, all, `GRANT USAGE ON SCHEMA "my""schema" TO "a""b; DROP TABLE x";`)
	require.Contains(t, all, `ON TABLE "my""schema".holdfast_inbox TO`)
	require.Contains(t, all, `GRANT EXECUTE ON FUNCTION "my""schema".holdfast_check_back(text[], text, integer, bigint) TO`)
	require.True(t, strings.HasSuffix(all, `REVOKE ALL ON TABLE "my""schema".holdfast_audit FROM "a""b; DROP TABLE x";`))
}

// TestLacking: what PostgreSQL says names the thing; what is not a process's has no answer.
func TestLacking(t *testing.T) {
	for says, want := range map[string]string{
		"permission denied for table holdfast_inbox (SQLSTATE 42501)":         "SELECT, INSERT, UPDATE, DELETE on holdfast_inbox",
		"permission denied for table holdfast_identity (SQLSTATE 42501)":      "SELECT on holdfast_identity",
		"permission denied for function holdfast_check_back (SQLSTATE 42501)": "EXECUTE on holdfast_check_back",
		"permission denied for table holdfast_audit":                          "",
		"permission denied for table holdfast_inbox2":                         "",
		"permission denied for schema shop":                                   "",
	} {
		require.Equal(t, want, Lacking(says), says)
	}
}
