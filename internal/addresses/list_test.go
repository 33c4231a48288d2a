package addresses

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for urls, want := range map[string][]string{
		"amqp://h":                           {"h:5672"},
		"amqps://u:p@h/v":                    {"h:5671"},
		"amqp://u:p@a/v,amqp://x:y@b:5673/v": {"a:5672", "b:5673"},
		" amqp://u:p@a/v ,\n\tamqp://u:p@b/v,amqp://c/v": {"a:5672", "b:5672", "c:5672"},
		"amqp://u:a,b@h/v,amqp://u:,amqp@i/v":            {"h:5672", "i:5672"}, // a password may have commas
		"amqp://u:p@[::1]:5672/a%2Cb":                    {"[::1]:5672"},
		"amqps://h:5671/?auth_mechanism=external":        {"h:5671"},
	} {
		l, err := Parse(urls)
		require.NoError(t, err, urls)
		var got []string
		for _, a := range l {
			got = append(got, a.Where())
		}
		require.Equal(t, want, got, urls)
	}
	l, err := Parse("amqp://u:p@a/v,amqp://x:y,z@b:5673/v")
	require.NoError(t, err)
	require.Equal(t, "x", l[1].Username)
	require.Equal(t, "y,z", l[1].Password)
	require.Equal(t, "a:5672, b:5673", l.Where())
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for urls, says := range map[string]string{
		"":                             "AMQP_URL is no URL for RabbitMQ: want amqp://user:password@host:5672/vhost",
		"http://u:sesame@h/":           "AMQP_URL is no URL",
		"amqp://u:sesame%zz@h/":        "percent-encoded",
		"amqp://a/,amqp://u:sesame@[/": "address 2 of 2 in AMQP_URL is no URL",
		// Each is whole: otherwise the rest, and its password, would be a name that RabbitMQ does not know.
		"amqp://u:sesame@a,b/":                      "each address is a whole URL",
		"amqp://u:sesame@a/v,b/v":                   "each address is a whole URL",
		"amqp://u:p@a/v,u:sesame@b/v":               "each address is a whole URL",
		"amqp://a/v,u:sesame/v":                     "each address is a whole URL",
		"amqp://a/v?heartbeat=5,u:sesame@b/v":       "is no URL",
		"amqp://a/v?cacertfile=/ca,u:sesame@b/v":    "each address is a whole URL",
		"amqp://u:sesame@a/v,amqp://u:sesame@b/w":   `different virtual hosts, "v" at a:5672 and "w" at b:5672`,
		"amqp://u:sesame@a,amqp://u:sesame@b/w":     `different virtual hosts, "/" at a:5672 and "w" at b:5672`,
		"amqp://u:sesame@a/v,amqps://u:sesame@b/v":  "in clear",
		"amqp://u:sesame@a/?auth_mechanism=magic":   "auth_mechanism=magic: want plain, amqplain or external",
		"amqp://a/?auth_mechanism=external":         "has to begin with amqps://",
		"amqps://a/v,amqps://u:sesame@b:notaport/v": "address 2 of 2",
	} {
		_, err := Parse(urls)
		require.ErrorIs(t, err, holdfast.ErrInvalid, urls)
		require.ErrorContains(t, err, says, urls)
		require.NotContains(t, err.Error(), "sesame", urls)
	}
}
