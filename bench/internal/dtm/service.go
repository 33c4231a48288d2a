package dtm

import (
	"context"
	"encoding/json"
	"net"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// serviceName is the service of all branches.
const serviceName = "bench.Branches"

// Branch is what a branch, or a check-back, does for its payload.
type Branch func(ctx context.Context, b *dtmcli.BranchBarrier, payload []byte) error

// Service has branches by name, and serves them over gRPC.
type Service struct {
	// Address is where dtm's server reaches it.
	Address string
	server  *grpc.Server
}

// Serve serves branches on a free port of this machine alone.
func Serve(branches map[string]Branch) (*Service, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Service{Address: l.Addr().String(), server: grpc.NewServer()}
	desc := grpc.ServiceDesc{ServiceName: serviceName, HandlerType: (*any)(nil)}
	for name, f := range branches {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: name, Handler: handler(f)})
	}
	s.server.RegisterService(&desc, struct{}{})
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

// handler calls f as gRPC calls the method of a service.
func handler(f Branch) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in wrapperspb.BytesValue
		if err := decode(&in); err != nil {
			return nil, err
		}
		b, err := dtmgrpc.BarrierFromGrpc(ctx)
		if err == nil {
			err = f(ctx, b, in.GetValue())
		}
		if err != nil {
			return nil, dtmgrpc.DtmError2GrpcError(err)
		}
		return &emptypb.Empty{}, nil
	}
}

// URL is how dtm's server is told of a branch of the service at an address.
func URL(address, branch string) string { return address + "/" + serviceName + "/" + branch }

// Payload is v as a branch is given it.
func Payload(v any) (*wrapperspb.BytesValue, error) {
	data, err := json.Marshal(v)
	return wrapperspb.Bytes(data), err
}

// Stop ends the service.
func (s *Service) Stop() { s.server.Stop() }
