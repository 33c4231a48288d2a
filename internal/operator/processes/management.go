package processes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker"
)

const (
	managementTimeout = 3 * time.Second
	managementPage    = 500
	managementPages   = 40       // 20,000 queues
	managementBody    = 16 << 20 // bytes of a page
)

// management is RabbitMQ's management API, for one virtual host.
type management struct {
	Base           *url.URL
	user, password string
	vhost          string
}

// NewManagement says where the API is: at the given URL, or where RabbitMQ has it
// unless it is told otherwise, beside an AMQP address with the usual port. The
// credentials are those of AMQP, unless the URL has its own.
func NewManagement(amqpURL, given string) (m management, err error) {
	at, err := amqp.ParseURI(amqpURL)
	if err != nil {
		return m, errors.New("AMQP_URL cannot be read")
	}
	m.user, m.password, m.vhost = at.Username, at.Password, at.Vhost
	switch {
	case given != "":
		if m.Base, err = url.Parse(given); err != nil || m.Base.Host == "" || m.Base.Scheme != "http" &&
			m.Base.Scheme != "https" {
			return m, errors.New("the address of the management API is no URL: want http://host:15672")
		}
		if m.Base.User != nil {
			m.user = m.Base.User.Username()
			m.password, _ = m.Base.User.Password()
			m.Base.User = nil
		}
	case at.Scheme == "amqp" && at.Port == 5672:
		m.Base = &url.URL{Scheme: "http", Host: net.JoinHostPort(at.Host, "15672")}
	case at.Scheme == "amqps" && at.Port == 5671:
		m.Base = &url.URL{Scheme: "https", Host: net.JoinHostPort(at.Host, "15671")}
	default:
		return m, errors.New("its address is not known")
	}
	return m, nil
}

// ManagedQueue is a queue as the API describes it.
type ManagedQueue struct {
	Name           string         `json:"name"`
	Type           string         `json:"type"`
	Policy         string         `json:"policy"`
	OperatorPolicy string         `json:"operator_policy"`
	Arguments      map[string]any `json:"arguments"`
	// Effective is nil where RabbitMQ does not tell it: it takes it from its
	// statistics.
	Effective Definition `json:"effective_policy_definition"`
	// Messages are those in the queue, Bytes their bodies.
	Messages float64 `json:"messages"`
	Bytes    float64 `json:"message_bytes"`
}

// Definition is a policy's. One without keys is an empty list in the API.
type Definition map[string]any

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Definition) UnmarshalJSON(text []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
		*d = Definition{}
		return nil
	}
	return json.Unmarshal(text, (*map[string]any)(d))
}

// Queues are those whose names begin with the prefix.
func (m management) Queues(ctx context.Context, prefix string) (out []ManagedQueue, err error) {
	ctx, cancel := context.WithTimeout(ctx, managementTimeout)
	defer cancel()
	for page := 1; page <= managementPages; page++ {
		query := url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(managementPage)},
			"use_regex": {"true"}, "name": {"^" + regexp.QuoteMeta(prefix) + `\.`},
			"columns": {"name,type,policy,operator_policy,arguments,effective_policy_definition,messages,message_bytes"}}
		var answer struct {
			Items []ManagedQueue `json:"items"`
			Pages int            `json:"page_count"`
		}
		if err := m.get(ctx, "/api/queues/"+url.PathEscape(m.vhost), query, &answer); err != nil {
			return out, err
		}
		out = append(out, answer.Items...)
		if page >= answer.Pages {
			break
		}
	}
	return out, nil
}

func (m management) get(ctx context.Context, path string, query url.Values, out any) error {
	address := strings.TrimRight(m.Base.String(), "/") + path + "?" + query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.SetBasicAuth(m.user, m.password)
	// A redirection would take the credentials along.
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(r)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the whole address
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("it refuses user %s: give it the tag monitoring or policymaker", m.user)
	default:
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, managementBody)).Decode(out)
}

// ConsumerTimeout is the limit that holds for a queue: its own argument's, or a policy's,
// the lesser of both, or else the server's.
func (q ManagedQueue) ConsumerTimeout(server broker.ConsumerTimeout) broker.ConsumerTimeout {
	var own []broker.ConsumerTimeout
	if ms, ok := Number(q.Arguments["x-consumer-timeout"]); ok {
		own = append(own, broker.ConsumerTimeout{Limit: time.Duration(ms) * time.Millisecond,
			Of: "the queue's argument x-consumer-timeout"})
	}
	if ms, ok := Number(q.Effective["consumer-timeout"]); ok {
		own = append(own, broker.ConsumerTimeout{Limit: time.Duration(ms) * time.Millisecond,
			Of: strings.TrimSpace(PolicyNames(q))})
	}
	if len(own) == 0 {
		return server
	}
	return slices.MinFunc(own,
		func(x, y broker.ConsumerTimeout) int { return int(x.Limit.Milliseconds() - y.Limit.Milliseconds()) })
}

// PolicyNames names the policies that a queue has.
func PolicyNames(q ManagedQueue) string {
	var names []string
	if q.Policy != "" {
		names = append(names, "policy "+q.Policy)
	}
	if q.OperatorPolicy != "" {
		names = append(names, "operator policy "+q.OperatorPolicy)
	}
	if len(names) == 0 {
		return "a policy"
	}
	return strings.Join(names, " or ")
}

// Number is a number in JSON.
func Number(v any) (float64, bool) {
	n, ok := v.(float64)
	return n, ok
}
