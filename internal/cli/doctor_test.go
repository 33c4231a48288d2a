package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
)

func TestVersionsOfRabbitMQ(t *testing.T) {
	for version, want := range map[string]level{
		"3.8.34": levelProblem, "3.9.0": levelProblem, "3.10.0": levelOK, "3.13.7": levelOK, "4.0.5": levelOK, "4.3.6": levelOK,
		"4.4.0": levelWarning, "5.0.0": levelWarning, "": levelWarning, "odd": levelWarning, "4.3.0-rc.1": levelOK, "4.3+x": levelOK,
	} {
		var f findings
		f.rabbitVersion(broker.Info{Product: "RabbitMQ", Version: version})
		require.Equal(t, want, f.all[0].Level, version)
		require.Equal(t, want != levelOK, f.all[0].Remedy != "", version)
	}
}

func TestVersionsOfTemporal(t *testing.T) {
	for version, want := range map[string]level{
		"1.24.2": levelProblem, "1.25.0": levelWarning, "1.28.1": levelWarning, "1.29.1": levelOK, "1.31.0-151.2": levelOK, "2.0.0": levelOK, "cloud": levelOK,
	} {
		require.Equal(t, want, temporalVersionFinding(version).Level, version)
	}
}

func TestQueues(t *testing.T) {
	for name, tc := range map[string]struct {
		look func(*findings)
		want level
	}{
		"no dead queue":                     {func(f *findings) { f.dead(broker.QueueInfo{}) }, levelOK},
		"no dead letters":                   {func(f *findings) { f.dead(broker.QueueInfo{Exists: true}) }, levelOK},
		"dead letters that nobody takes in": {func(f *findings) { f.dead(broker.QueueInfo{Exists: true, Messages: 1}) }, levelWarning},
		"dead letters being taken in":       {func(f *findings) { f.dead(broker.QueueInfo{Exists: true, Messages: manyDead, Consumers: 1}) }, levelOK},
		"a slow intake":                     {func(f *findings) { f.dead(broker.QueueInfo{Exists: true, Messages: manyDead + 1, Consumers: 1}) }, levelWarning},
		"nothing oversized":                 {func(f *findings) { f.oversized(broker.QueueInfo{Exists: true}) }, levelOK},
		"oversized":                         {func(f *findings) { f.oversized(broker.QueueInfo{Exists: true, Messages: 1}) }, levelWarning},
		"no half queue":                     {func(f *findings) { f.halfQueue(kept("g", 1, broker.QueueInfo{}, nil)) }, levelProblem},
		"no Keeper":                         {func(f *findings) { f.halfQueue(kept("g", 1, broker.QueueInfo{Exists: true}, nil)) }, levelProblem},
		"no Keeper of a further one":        {func(f *findings) { f.halfQueue(kept("g", 2, broker.QueueInfo{Exists: true}, nil)) }, levelProblem},
		"a Keeper":                          {func(f *findings) { f.halfQueue(kept("g", 1, broker.QueueInfo{Exists: true, Consumers: 2}, nil)) }, levelOK},
		"a slow Keeper": {func(f *findings) {
			f.halfQueue(kept("g", 1, broker.QueueInfo{Exists: true, Consumers: 1, Messages: manyWaiting + 1}, nil))
		}, levelWarning},
		"no consumer queue": {func(f *findings) { f.consumerQueue("c", broker.QueueInfo{}, nil) }, levelProblem},
		"no consumer":       {func(f *findings) { f.consumerQueue("c", broker.QueueInfo{Exists: true}, nil) }, levelProblem},
		"a consumer":        {func(f *findings) { f.consumerQueue("c", broker.QueueInfo{Exists: true, Consumers: 1}, nil) }, levelOK},
		"a slow consumer": {func(f *findings) {
			f.consumerQueue("c", broker.QueueInfo{Exists: true, Consumers: 1, Messages: manyWaiting + 1}, nil)
		}, levelWarning},
		"a paused consumer": {func(f *findings) {
			f.consumerQueue("c", broker.QueueInfo{Exists: true}, []broker.ConsumerStatus{{Breaker: broker.BreakerOpen}})
		}, levelOK},
		"a consumer that reads nothing": {func(f *findings) {
			f.consumerQueue("c", broker.QueueInfo{Exists: true}, []broker.ConsumerStatus{{Breaker: broker.BreakerClosed}})
		}, levelWarning},
		"some suspects":  {func(f *findings) { f.aloneQueue("c", broker.QueueInfo{Exists: true, Messages: 1}) }, levelOK},
		"many suspects":  {func(f *findings) { f.aloneQueue("c", broker.QueueInfo{Exists: true, Messages: manyAlone + 1}) }, levelWarning},
		"no replies":     {func(f *findings) { f.replyQueue("g", broker.QueueInfo{Exists: true}) }, levelOK},
		"unread replies": {func(f *findings) { f.replyQueue("g", broker.QueueInfo{Exists: true, Messages: 1}) }, levelProblem},
		"replies":        {func(f *findings) { f.replyQueue("g", broker.QueueInfo{Exists: true, Messages: 1, Consumers: 1}) }, levelOK},
		"slow replies": {func(f *findings) {
			f.replyQueue("g", broker.QueueInfo{Exists: true, Messages: manyWaiting + 1, Consumers: 1})
		}, levelWarning},
		"exchange":           {func(f *findings) { f.topology(broker.Info{Topics: true}, "x", true) }, levelOK},
		"no exchange yet":    {func(f *findings) { f.topology(broker.Info{}, "x", false) }, levelWarning},
		"no exchange at all": {func(f *findings) { f.topology(broker.Info{}, "x", true) }, levelProblem},
	} {
		t.Run(name, func(t *testing.T) {
			var f findings
			tc.look(&f)
			require.Equal(t, tc.want, f.all[0].Level)
			require.Equal(t, tc.want != levelOK, f.all[0].Remedy != "", "everything that is wrong has a remedy")
		})
	}
}
