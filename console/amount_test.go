package console

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOverAmount: what cannot be told counts as over.
func TestOverAmount(t *testing.T) {
	t.Parallel()
	over, err := OverAmount("1000", "amount")
	require.NoError(t, err)
	for data, why := range map[string]string{
		`{"amount":999.99}`:                     "",
		`{"amount":1000}`:                       "",
		`{"amount":1e3}`:                        "",
		`{"Amount":5,"other":{"amount":5000}}`:  "",
		`{"amount":1000.000000000000000000001}`: "its amount is 1000.000000000000000000001, which is over 1000",
		`{"amount":1001}`:                       "its amount is 1001, which is over 1000",
		`{"amount":-5}`:                         "",
		`{"amount":-1001}`:                      "which is over 1000",
		`{"amount":1e400}`:                      "which is over 1000",
		`{"amount":1e999999999}`:                "too large",
		`{"amount":"1000"}`:                     "no number",
		`{"amount":"5"}`:                        "no number",
		`{"amount":null}`:                       "no number",
		`{"amount":{"amount":5}}`:               "no number",
		`{"total":5}`:                           "not there",
		`{}`:                                    "not there",
		`{"amount":5,"amount":5000}`:            "more than once",
		`{"amount":5,"AMOUNT":5000}`:            "more than once",
		`[{"amount":5}]`:                        "no JSON object",
		`{"amount":5`:                           "no JSON object",
		`{"amount":5}{"amount":5000}`:           "no JSON object",
		`amount=5`:                              "no JSON object",
		``:                                      "no JSON object",
	} {
		needed, said := over(Item{Data: []byte(data)})
		require.Equal(t, why != "", needed, data)
		require.Contains(t, said, why, data)
	}
	needed, said := over(Item{Unreadable: "encrypted: there is no key"})
	require.True(t, needed)
	require.Contains(t, said, "encrypted: there is no key")

	nested, err := OverAmount("0.5", "order.total")
	require.NoError(t, err)
	for data, want := range map[string]bool{`{"order":{"total":0.5}}`: false, `{"order":{"total":0.6}}`: true, `{"total":0.1}`: true,
		`{"order":5}`: true, `{"order.total":0.1}`: true} {
		needed, _ := nested(Item{Data: []byte(data)})
		require.Equal(t, want, needed, data)
	}
	for _, bad := range [][2]string{{"", "a"}, {"x", "a"}, {"-1", "a"}, {"1", ""}, {"1", "a..b"}, {"1e9999", "a"}, {"0x10", "a"}} {
		_, err := OverAmount(bad[0], bad[1])
		require.Error(t, err, bad)
	}
}
