package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUILink(t *testing.T) {
	require.Empty(t, UiLink("", "default", "tx/a/b", "r"))
	require.Equal(t, "http://ui/namespaces/shop.x/workflows/tx%2Forders%2Fa%3Fb/r/history", UiLink("http://ui/", "shop.x", "tx/orders/a?b", "r"))
}

func TestQuote(t *testing.T) {
	require.Equal(t, `"a'b"`, Quote("a'b"))
	require.Equal(t, `"a\\\" OR 1=1"`, Quote(`a\" OR 1=1`))
}

func TestSplitWorkflowID(t *testing.T) {
	for id, want := range map[string][2]string{
		"tx/orders/1":      {"orders", "1"},
		"cohort/orders/1":  {"orders", ""},
		"recovery/o/1":     {"o", ""},
		"dead/payments/1":  {"payments", ""},
		"something":        {"", ""},
		"tx/orders":        {"", ""},
		"tx/a.b-c_d/7-8.9": {"a.b-c_d", "7-8.9"},
		"hf:tx/orders/1":   {"orders", "1"},
		"hf:cohort/o/1":    {"o", ""},
		":tx/orders/1":     {"", ""},
	} {
		group, tx := SplitWorkflowID(id)
		require.Equal(t, want, [2]string{group, tx}, id)
	}
}
