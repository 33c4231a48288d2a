package alerts

import (
	"fmt"
	"net/url"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

// CheckConsole says what is wrong with a console's address; empty: there is none.
func CheckConsole(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return fmt.Errorf("%w: ConsoleURL is no address of a console: want https://HOST, with a path if it has one",
			holdfast.ErrInvalid)
	}
	return nil
}

// LinkTo is the console's page of what an alert is about, on the console at an address: of a saga, a
// dead letter, a transaction, a consumer; of anything else, Home. Empty: there is no console.
func LinkTo(console string, a holdfast.Alert) string {
	if console == "" {
		return ""
	}
	base := strings.TrimRight(console, "/")
	page := func(path, name, value string) string { return base + path + "?" + url.Values{name: {value}}.Encode() }
	known, ok := workflows.ParseID(a.WorkflowID)
	switch {
	case ok && known.Kind == workflows.KindSaga:
		return page("/saga", "id", a.WorkflowID)
	case ok && known.Kind == workflows.KindDeadLetter:
		return page("/letter", "id", a.WorkflowID)
	case ok && known.Shared() && a.ID != "":
		return page("/transaction", "id", a.ID)
	case ok && known.Kind == workflows.KindTransaction:
		return page("/transaction", "id", a.WorkflowID)
	case a.Consumer != "":
		return page("/consumer", "name", a.Consumer)
	}
	return base + "/"
}
