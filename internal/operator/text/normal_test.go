package text

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var normalErrors = map[string]string{
	"":                         "",
	"sold out":                 "sold out",
	"order 17 not found":       "order <n> not found",
	"order A-1007 not found":   "order A-<n> not found",
	`no customer "ann"`:        "no customer <text>",
	`no customer "a\"nn" here`: "no customer <text> here",
	"bad key 'x y' in `t`":     "bad key <text> in <text>",
	"can't do what isn't":      "can't do what isn't",
	"'a' 'b' 'c'":              "<text> <text> <text>",
	"“a” and «b»":              "<text> and <text>",
	"id 550e8400-e29b-41d4-a716-446655440000 is there": "id <uuid> is there",
	"at 0xc000012345":                               "at <hex>",
	"sum 9f86d081884c7d65 differs":                  "sum <hex> differs",
	"deadbeef is a word without digits":             "deadbeef is a word without digits",
	"dial tcp 10.0.0.7:5432: refused":               "dial tcp <n>: refused",
	"took 1.5s, limit 1s":                           "took <n>s, limit <n>s",
	"a\n\tb \x1b[31mc":                              "a b [<n>mc",
	`cut in "the middle…`:                           "cut in <text>",
	`cut at the limit "` + strings.Repeat("a", 500): "cut at the limit <text>",
	`5" is an inch`:                                 `<n>" is an inch`,
	`ERROR: duplicate key value violates unique constraint "orders2_pkey" (SQLSTATE 23505)`:                    `ERROR: duplicate key value violates unique constraint "orders2_pkey" (SQLSTATE 23505)`,
	`insert or update on table "lines" violates foreign key constraint "fk_1" (SQLSTATE 23503): Key (id)=(42)`: `insert or update on table "lines" violates foreign key constraint "fk_1" (SQLSTATE 23503): Key (id)=(<n>)`,
	`null value in column "total" of relation "orders" violates not-null constraint (SQLSTATE 23502)`:          `null value in column "total" of relation "orders" violates not-null constraint (SQLSTATE 23502)`,
	`permission denied for table orders_2026 (SQLSTATE 42501)`:                                                 `permission denied for table orders_2026 (SQLSTATE 42501)`,
	`invalid input syntax for type integer: "A-1" (SQLSTATE 22P02)`:                                            `invalid input syntax for type integer: <text> (SQLSTATE 22P02)`,
	`ledger: HTTP 503 after 1.5s; request 0199`:                                                                `ledger: HTTP 503 after <n>s; request <n>`,
	`unexpected status code: 404 for /orders/17`:                                                               `unexpected status code: 404 for /orders/<n>`,
	`exit status 3`: `exit status 3`,
	`ORA-00942: table or view does not exist`: `ORA-00942: table or view does not exist`,
}

func TestNormalError(t *testing.T) {
	for raw, want := range normalErrors {
		require.Equal(t, want, NormalError(raw), raw)
		require.Equal(t, want, NormalError(want), "twice: %s", raw)
	}
}

func FuzzNormalError(f *testing.F) {
	for raw := range normalErrors {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once := NormalError(raw)
		if strings.ContainsAny(constants.ReplaceAllString(once, ""), "0123456789") || strings.ContainsAny(once, "\n\r\t\x00\x1b") {
			t.Errorf("%q: numbers or control characters are left in %q", raw, once)
		}
		if common := NewCommonError(raw).String(); !HasError(raw, common) {
			t.Errorf("%q is not found by %q", raw, common)
		}
		if max(len(raw), len(once)) < cutLength && NormalError(once) != once {
			t.Errorf("%q: %q, and then %q", raw, once, NormalError(once))
		}
		if !HasError(raw, once) {
			t.Errorf("%q is not found by %q", raw, once)
		}
	})
}
