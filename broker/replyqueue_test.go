package broker

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
	s := newSagaCalls(c, nil)
	require.Equal(t, s.instanceQueue("g"), s.instanceQueue("g"))
	require.Regexp(t, `^p{40}\.replies\.g@a process/1�\.[0-9a-f]{8}$`, s.instanceQueue("g"))
	require.Regexp(t, `^p{40}\.replies\.@[0-9a-f-]{36}$`, s.instanceQueue(long))
	for _, group := range []string{"g", long} {
		queue := s.instanceQueue(group)
		require.True(t, wire.IsReplyQueue(c.Prefix, queue))
		require.Empty(t, wire.GroupOfReplies(c.Prefix, queue), "no durable queue can have its name")
		s.replyNames.renew(group)
		require.NotEqual(t, queue, s.instanceQueue(group))
		require.Equal(t, group, wire.GroupOfReplies(c.Prefix, c.ReplyQueue(group)))
	}
	other := newSagaCalls(c, nil)
	require.NotEqual(t, s.instanceQueue("g"), other.instanceQueue("g"), "two processes of one name")
}
