package demo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLedger(t *testing.T) {
	for text, x := range map[string]struct {
		ledger
		right bool
	}{
		"order missing":                                              {},
		"order missing, 1 paid":                                      {ledger: ledger{paid: 1}},
		"order placed":                                               {ledger: ledger{orders: 1, state: "placed"}},
		"order placed, 1 reserved, 1 paid":                           {ledger{orders: 1, state: "placed", reserved: 1, paid: 1}, true},
		"order placed, 1 released, 1 given back":                     {ledger{orders: 1, state: "placed", released: 1, refunds: 1}, true},
		"order placed, 1 reserved, 1 given back":                     {ledger: ledger{orders: 1, state: "placed", reserved: 1, refunds: 1}},
		"order pending, 1 reserved":                                  {ledger: ledger{orders: 1, state: "pending", reserved: 1}},
		"order confirmed, 1 reserved, 1 paid, 1 shipped":             {ledger{orders: 1, state: "confirmed", reserved: 1, paid: 1, shipped: 1}, true},
		"order confirmed, 1 reserved, 2 paid, 1 shipped":             {ledger: ledger{orders: 1, state: "confirmed", reserved: 1, paid: 2, shipped: 1}},
		"order confirmed, 1 reserved, 1 paid, 1 refunded, 1 shipped": {ledger: ledger{orders: 1, state: "confirmed", reserved: 1, paid: 1, refunded: 1, shipped: 1}},
		"order cancelled":                                            {ledger{orders: 1, state: "cancelled"}, true},
		"order cancelled, 1 released, 1 refunded, 1 recalled":        {ledger{orders: 1, state: "cancelled", released: 1, refunded: 1, recalled: 1}, true},
		"order cancelled, 1 released, 1 paid":                        {ledger: ledger{orders: 1, state: "cancelled", released: 1, paid: 1}},
		"order cancelled, 1 reserved":                                {ledger: ledger{orders: 1, state: "cancelled", reserved: 1}},
	} {
		require.Equal(t, text, x.String())
		require.Equal(t, x.right, x.ledger.right(), text)
	}
}
