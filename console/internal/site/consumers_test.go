package site

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/internal/operator/consumers"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// someConsumers are one that runs and one that nobody consumes.
func someConsumers() desk.Consumers {
	held := 7
	return desk.Consumers{Letters: map[string]int{"payments": 12}, Seen: consumers.Seen{Answering: 2, Unknown: []string{"half queues: no"},
		Consumers: []consumers.Consumer{
			{Name: "audit<b>", Queue: "holdfast.q.audit<b>", Exists: true, Ready: 5, Alone: 1},
			{Name: "payments", Queue: "holdfast.q.payments", Exists: true, Ready: 3, Readers: 1, Unacknowledged: &held, Oldest: began.Add(-time.Hour),
				Topics: []string{"order.placed"}, Processes: []consumers.Process{{Instance: "<script>pod-1", ConsumerStatus: broker.ConsumerStatus{
					Breaker: broker.BreakerOpen, Since: began, Error: "the bank is <b>away</b>", Handling: 2}}},
				Ladder: consumers.Ladder{Count: 4, AtLeast: true, Since: began.Add(-time.Minute), Delays: []string{"4 in 10s"}}},
		},
		Halves: []processes.KeptQueue{{Group: "orders", Queue: 1, Name: "holdfast.half.orders", Exists: true, Held: 9, Undecided: 2, OldestAge: 90}}}}
}

func TestConsumers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.consumers = someConsumers()
	b := h.as("viewer")
	got := b.get("/consumers")
	require.Equal(t, http.StatusOK, got.status, got.body)
	for _, want := range []string{"2 processes answer", "half queues: no", "/consumer?name=audit%3cb%3e", "orphaned: no process consumes it, and messages wait",
		"/dead?by=error&amp;consumer=payments", ">12<", ">at least 4<", ">7<", ">open<", "2026-01-02 11:00:00", "holdfast.half.orders", "1m30s",
		"orders: nobody keeps it", `content="30;url=/consumers?auto=1"`} {
		require.Contains(t, got.body, want)
	}
	require.NotContains(t, got.body, "<b>")
	got = b.get("/consumer?name=payments")
	require.Equal(t, http.StatusOK, got.status, got.body)
	for _, want := range []string{"&lt;script&gt;pod-1", "the bank is &lt;b&gt;away&lt;/b&gt;", "order.placed", "at least 4: 4 in 10s; the oldest has failed since",
		"mend the dependency", `content="30;url=/consumer?auto=1&amp;name=payments"`} {
		require.Contains(t, got.body, want)
	}
	require.NotContains(t, got.body, "<script>")
	got = b.get("/consumer?name=audit%3Cb%3E")
	require.Contains(t, got.body, "None answers.")
	require.Contains(t, got.body, "Tried one by one")
	require.Equal(t, 1, h.desk.looks, "all of that is one look")
	require.Equal(t, http.StatusNotFound, b.get("/consumer?name=nobody").status)
	require.Equal(t, http.StatusNotFound, b.get("/consumer").status)

	h.pass(homeFresh)
	h.desk.consumers.Letters = nil
	require.Contains(t, b.get("/consumers").body, "not known")
	h.pass(homeFresh)
	h.desk.err = text.WithRemedy(errors.New("RabbitMQ cannot be reached"), "see that it runs")
	got = b.get("/consumers")
	require.Equal(t, http.StatusBadGateway, got.status)
	require.Contains(t, got.body, "RabbitMQ cannot be reached")
}

func TestFindingsLeadToConsumers(t *testing.T) {
	t.Parallel()
	for check, want := range map[string]string{"breaker payments": "/consumers", "consumer payments": "/consumers", "keeper orders": "/consumers", "version": "",
		"pause of a b": "/consumer?name=a+b", "pauses of payments": "/consumers"} {
		require.Equal(t, want, pageOf(doctor.Finding{Part: "RabbitMQ", Check: check}), check)
	}
}

// TestConsumersStay: a link has the pages of consumers stay as they are.
func TestConsumersStay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.consumers = someConsumers()
	b := h.as("viewer")
	for _, page := range []string{"/consumers", "/consumer?name=payments"} {
		require.Contains(t, b.get(page).body, `http-equiv="refresh"`)
		still := strings.Replace(page+"&still=1", "consumers&", "consumers?", 1)
		require.Contains(t, b.get(page).body, strings.ReplaceAll(still, "&", "&amp;"))
		require.NotContains(t, b.get(still).body, `http-equiv="refresh"`)
	}
}

// TestConsumersArePausedByHand with a form that acts once, on what was shown, and is in the audit.
func TestConsumersArePausedByHand(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.consumers = someConsumers()
	b := h.as("operator")
	page := b.get("/consumer?name=payments")
	for _, want := range []string{"Pause …", "Pause for 1h …", "act=pause&amp;id=payments&amp;kind=consumer&amp;step=24h",
		"It goes on by itself after 24h, by RabbitMQ&#39;s clock."} {
		require.Contains(t, page.body, want)
	}
	require.NotContains(t, h.as("viewer").get("/consumer?name=payments").body, "/do?")
	form := b.confirm("kind=consumer&id=payments&act=pause&step=1h")
	require.Empty(t, h.desk.acts())
	for range 2 {
		got := b.post("/do", form)
		require.Equal(t, http.StatusSeeOther, got.status, got.body)
		require.Contains(t, b.get(got.to).body, "Pause for 1h: paused")
	}
	require.Equal(t, []string{"pause 1h payments by operator (authenticated by file): as agreed"}, h.desk.acts())
	require.Equal(t, []string{"consumer pause", "payments", "1h"},
		[]string{h.entries()[0].Action, h.entries()[0].Target, h.entries()[0].Step})

	stale := b.confirm("kind=consumer&id=payments&act=pause")
	h.desk.consumers.Seen.Consumers[1].Pause = &broker.ConsumerPause{ID: "p", By: "<b>ann</b>", Reason: "stock-taking", Since: began}
	require.Equal(t, http.StatusConflict, b.post("/do", stale).status, "somebody else has paused it meanwhile")
	h.pass(homeFresh)
	page = b.get("/consumer?name=payments")
	require.Contains(t, page.body, "paused by hand by &lt;b&gt;ann&lt;/b&gt;: stock-taking")
	require.Contains(t, page.body, "Resume …")
	require.NotContains(t, page.body, "Pause …")
	require.Contains(t, b.get("/consumers").body, "<td>paused by hand</td>")
	require.Equal(t, http.StatusConflict, b.get("/do?kind=consumer&id=payments&act=pause").status)
	require.Equal(t, http.StatusSeeOther, b.post("/do", b.confirm("kind=consumer&id=payments&act=resume")).status)
	require.Len(t, h.desk.acts(), 2)
	for _, bad := range []string{"act=pause&step=5000h", "act=delete"} {
		require.NotEqual(t, http.StatusOK, b.get("/do?kind=consumer&id=payments&"+bad).status)
	}
}

// TestConsumersAreRemoved by admins alone, with as many messages as were shown, and are unbound from
// topics that no process listens to.
func TestConsumersAreRemoved(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.consumers = someConsumers()
	gone, runs := &h.desk.consumers.Seen.Consumers[0], &h.desk.consumers.Seen.Consumers[1]
	gone.Ready, gone.NoRoom = 3, 2 // and one alone: as many as a removal loses
	gone.Topics, gone.Bound, gone.Ladder.Count = []string{"order.placed"}, []string{"order.placed", "order.old"}, 3
	runs.Bound, runs.Processes[0].Topics = []string{"order.placed", "order.old"}, []string{"order.placed"}
	b, operator := h.as("admin"), h.as("operator")
	at := "/consumer?name=audit%3Cb%3E"
	const remove, unbind = "kind=consumer&id=audit%3Cb%3E&act=remove", "kind=consumer&id=payments&act=unbind&step=order.old"
	page := b.get(at).body
	for _, want := range []string{"Remove …", "6 messages in its queues: lost for good", "2: its queue was full", "wait for a retry become dead letters"} {
		require.Contains(t, page, want)
	}
	require.NotContains(t, page, "Unbind", "it is merely stopped")
	page = b.get("/consumer?name=payments").body
	require.Contains(t, page, "Unbind from order.old …")
	require.NotContains(t, page, "Unbind from order.placed")
	require.NotContains(t, page, "Remove …")
	for _, query := range []string{remove, unbind} {
		require.Equal(t, http.StatusForbidden, operator.get("/do?"+query).status)
	}
	require.NotContains(t, operator.get(at).body, "Remove …")
	for _, not := range []string{"kind=consumer&id=payments&act=remove", "kind=consumer&id=payments&act=unbind&step=order.placed",
		"kind=consumer&id=payments&act=unbind&step=never.bound", remove + "&step=100",
		"kind=consumer&id=audit%3Cb%3E&act=unbind&step=order.old"} {
		require.Equal(t, http.StatusConflict, b.get("/do?"+not).status, not)
	}
	form := b.confirm(remove)
	none := url.Values{"token": form["token"], "form": form["form"], "reason": {" "}}
	require.Equal(t, http.StatusUnprocessableEntity, b.post("/do", none).status, "a reason is required")
	gone.Ready++
	require.Equal(t, http.StatusConflict, b.post("/do", form).status, "a message came")
	require.Empty(t, h.desk.acts())
	form = b.confirm(remove)
	for range 2 {
		require.Equal(t, http.StatusSeeOther, b.post("/do", form).status)
	}
	require.Equal(t, http.StatusSeeOther, b.post("/do", b.confirm(unbind)).status)
	require.Equal(t, []string{"remove 7 audit<b> by admin (authenticated by file): as agreed",
		"unbind order.old payments by admin (authenticated by file): as agreed"}, h.desk.acts())
	var said []string
	for _, e := range h.entries() {
		said = append(said, e.Action+" "+e.Step+": "+e.Outcome)
	}
	require.Equal(t, []string{"consumer remove : refused", "consumer unbind order.old: refused", "consumer remove : refused",
		"consumer remove : asked", "consumer remove : paused", "consumer unbind order.old: asked", "consumer unbind order.old: paused"}, said)
}
