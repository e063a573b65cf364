//go:build tools

// Package tools names what .ci/operator-crds needs, so that go.mod and go.sum pin it.
package tools

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	_ "sigs.k8s.io/controller-tools/cmd/controller-gen"
)
