package link

import (
	"log/slog"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// brokenSigner panics, whatever it is asked.
type brokenSigner struct{}

func (brokenSigner) Sign([]byte) (string, []byte, error) { panic("no key") }

func (brokenSigner) Check(string, []byte, []byte) error { panic("no key") }

// TestABrokenSigner: what the application's Signer does wrong costs that one record, not the process.
func TestABrokenSigner(t *testing.T) {
	names := wire.Names{Prefix: "shop"}
	s := NewSignatures(brokenSigner{}, holdfast.SigningRequired, names, slog.New(slog.DiscardHandler))
	var panicked *holdfast.PanicError
	err := s.Sign("shop.half", "orders", &amqp.Publishing{MessageId: "1"})
	require.ErrorAs(t, err, &panicked)
	require.ErrorContains(t, err, "Options.Signer: ")

	d := amqp.Delivery{Exchange: "shop.half", RoutingKey: "orders", Headers: amqp.Table{wire.HeaderSignature: "1:k:AAAA"}}
	err = s.Checker()(d.Exchange, d.RoutingKey, &d)
	require.ErrorIs(t, err, holdfast.ErrForged)
	require.ErrorAs(t, err, &panicked)
}
