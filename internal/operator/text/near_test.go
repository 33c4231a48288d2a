package text

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnknownNames(t *testing.T) {
	t.Parallel()
	known := []string{"payments", "mails", "payments.eu", "audit", "audit"}
	for name, want := range map[string]string{
		"payments":  "",
		"paymnets":  `No consumer "paymnets" is known. Did you mean payments?`,
		"Payments":  `No consumer "Payments" is known. Did you mean payments or payments.eu?`,
		"payment":   `No consumer "payment" is known. Did you mean payments or payments.eu?`,
		"mail":      `No consumer "mail" is known. Did you mean mails?`,
		"warehouse": `No consumer "warehouse" is known; there are audit, mails, payments, payments.eu.`,
	} {
		require.Equal(t, want, UnknownName("consumer", name, append([]string(nil), known...)), name)
	}
	require.Contains(t, UnknownName("group", "x", nil), "nor is any other. Check --prefix")
	require.Contains(t, UnknownName("group", "x", []string{"aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh", "ii", "jj", "kk"}), "among 11 others there are aa, ")
}
