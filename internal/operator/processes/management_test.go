package processes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
)

func TestManagement(t *testing.T) {
	for amqpURL, want := range map[string]string{
		"amqp://u:p@h:5672/v":                            "http://h:15672",
		"amqps://u:p@h:5671/v":                           "https://h:15671",
		"amqp://u:p@h:1234/v":                            "", // perhaps another RabbitMQ's
		"amqp://u:p@h:1/v,amqp://u:p@i/v,amqp://u:p@j/v": "http://i:15672, http://j:15672",
	} {
		m, err := NewManagement(amqpURL, broker.TLS{}, "")
		if want == "" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		var ways []string
		for _, w := range m.ways {
			ways = append(ways, w.base.String())
		}
		require.Equal(t, want, strings.Join(ways, ", "))
	}
	_, err := NewManagement("amqp://u:p@h/v", broker.TLS{}, "h:15672")
	require.Error(t, err)

	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked = append(asked, fmt.Sprint(user, password, r.URL.EscapedPath(), r.URL.Query().Get("name"), r.URL.Query().Get("page")))
		if user != "ann" {
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"page_count": 2, "items": []any{
			map[string]any{"name": "a.b.q." + r.URL.Query().Get("page"), "policy": nil, "effective_policy_definition": []any{}, "arguments": map[string]any{}}}})
	}))
	defer s.Close()
	m, err := NewManagement("amqp://u:p@h/a%2Fb", broker.TLS{}, strings.Replace(s.URL, "//", "//ann:secret@", 1))
	require.NoError(t, err)
	queues, err := m.Queues(t.Context(), "a.b")
	require.NoError(t, err)
	require.Len(t, queues, 2)
	require.Equal(t, []string{`annsecret/api/queues/a%2Fb^a\.b\.1`, `annsecret/api/queues/a%2Fb^a\.b\.2`}, asked)
	m.ways[0].user = "bob"
	_, err = m.Queues(t.Context(), "a.b")
	require.ErrorContains(t, err, "302", "credentials do not go elsewhere")

	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	first, err := NewManagement("amqp://u:p@h/a%2Fb", broker.TLS{}, strings.Replace(gone.URL, "//", "//ann:secret@", 1))
	require.NoError(t, err)
	_, err = first.Queues(t.Context(), "a.b")
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "secret")
	m.ways[0].user = "ann"
	m.ways = append(first.ways, m.ways...)
	queues, err = m.Queues(t.Context(), "a.b")
	require.NoError(t, err, "another node tells the same")
	require.Len(t, queues, 2)
}
