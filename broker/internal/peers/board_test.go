package peers

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/stretchr/testify/require"
)

// A connection that is lost once or twice is no trouble; one that is lost often is.
func TestLossesAreShown(t *testing.T) {
	s := &Board{c: &link.Client{Publishing: &link.Connection{}, Consuming: &link.Connection{},
		Pub: &link.Publisher{Refused: link.NewRefusals(link.Options{Log: slog.New(slog.DiscardHandler)})}}}
	told := func() (roles []string) {
		var p wire.ProcessStatus
		s.publishing(&p, time.Now())
		for _, l := range p.Lost {
			roles = append(roles, l.Role)
		}
		return roles
	}
	for range link.LossesTold - 1 {
		s.c.Publishing.Lost.Add(errors.New("oops"))
	}
	require.Empty(t, told())
	s.c.Publishing.Lost.Add(errors.New("oops"))
	require.Equal(t, []string{wire.RolePublishing}, told())
}
