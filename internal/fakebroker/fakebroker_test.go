package fakebroker_test

import (
	"testing"

	"github.com/holdfastmq/holdfast/internal/brokertest"
	"github.com/holdfastmq/holdfast/internal/fakebroker"
)

func TestPromises(t *testing.T) {
	brokertest.Run(t, func(*testing.T) func(string) brokertest.Broker {
		s := fakebroker.NewServer()
		return func(process string) brokertest.Broker { return s.Open("test", process) }
	})
}
