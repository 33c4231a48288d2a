package sagacalls

import (
	"strings"
	"testing"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestReplyQueueNames(t *testing.T) {
	long := strings.Repeat("g", 200)
	c := &link.Client{Names: wire.Names{Prefix: strings.Repeat("p", 40), Halves: 1}, Instance: "a process/1\n"}
	s := New(c, nil)
	require.Equal(t, s.InstanceQueue("g"), s.InstanceQueue("g"))
	require.Regexp(t, `^p{40}\.replies\.g@a process/1�\.[0-9a-f]{8}$`, s.InstanceQueue("g"))
	require.Regexp(t, `^p{40}\.replies\.@[0-9a-f-]{36}$`, s.InstanceQueue(long))
	for _, group := range []string{"g", long} {
		queue := s.InstanceQueue(group)
		require.True(t, wire.IsReplyQueue(c.Prefix, queue))
		require.Empty(t, wire.GroupOfReplies(c.Prefix, queue), "no durable queue can have its name")
		s.replyNames.renew(group)
		require.NotEqual(t, queue, s.InstanceQueue(group))
		require.Equal(t, group, wire.GroupOfReplies(c.Prefix, c.ReplyQueue(group)))
	}
	other := New(c, nil)
	require.NotEqual(t, s.InstanceQueue("g"), other.InstanceQueue("g"), "two processes of one name")
}
