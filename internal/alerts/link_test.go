package alerts

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// TestLinkTo: each alert links to the page of what it is about.
func TestLinkTo(t *testing.T) {
	const at = "https://console.example/holdfast"
	for want, a := range map[string]holdfast.Alert{
		"/saga?id=saga%2Forders%2Forder%2FA-1":        {WorkflowID: "saga/orders/order/A-1", ID: "A-1"},
		"/saga?id=shop%3Asaga%2Forders%2Forder%2FA-1": {WorkflowID: "shop:saga/orders/order/A-1", Consumer: "payments"},
		"/letter?id=dead%2Fpayments%2Fm1":             {WorkflowID: "dead/payments/m1", Consumer: "payments"},
		"/transaction?id=tx%2Forders%2F1":             {WorkflowID: "tx/orders/1", ID: "1"},
		"/transaction?id=2":                           {WorkflowID: "cohort/orders/c1", ID: "2"},
		"/consumer?name=payments+%26+more":            {Consumer: "payments & more", Kind: holdfast.AlertBreakerOpened},
		"/":                                           {Kind: holdfast.AlertQueuesLost, Group: "orders"},
	} {
		require.Equal(t, at+want, LinkTo(at+"/", a))
		require.Empty(t, LinkTo("", a))
	}
	for _, good := range []string{"", "https://console.example", "http://127.0.0.1:8080/holdfast/"} {
		require.NoError(t, CheckConsole(good))
	}
	for _, bad := range []string{"console.example", "ftp://console.example", "javascript:alert(1)", "https://", "https://ann:secret@console.example",
		"https://console.example/?a=b", "https://console.example/#a", "https://a b"} {
		err := CheckConsole(bad)
		require.ErrorIs(t, err, holdfast.ErrInvalid, bad)
		require.NotContains(t, err.Error(), "secret")
	}
}

// TestAlertsLink: what is told has this process's link, whatever a sender says.
func TestAlertsLink(t *testing.T) {
	told := make(chan holdfast.Alert, 1)
	b := newBell(t, func(_ context.Context, a holdfast.Alert) { told <- a }, Target{})
	b.console = "https://console.example/holdfast/"
	b.start()
	b.Alert(holdfast.Alert{Kind: holdfast.AlertParked, WorkflowID: "saga/orders/order/A-1", Link: "https://elsewhere.example"})
	select {
	case a := <-told:
		require.Equal(t, "https://console.example/holdfast/saga?id=saga%2Forders%2Forder%2FA-1", a.Link)
	case <-time.After(time.Minute):
		require.Fail(t, "nobody is told")
	}
	b.end()
}
