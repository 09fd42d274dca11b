// What kstatus, Argo CD and Flux each say of Kubernetes objects, by their own code.
//
//	health -argocd FOLDER -flux FILE < OBJECTS
//
// FOLDER is a kustomization with Argo CD's settings, FILE a Flux Kustomization, OBJECTS a JSON array. It prints a JSON array in the
// same order.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

type answer struct {
	Kind    string               `json:"kind"`
	Name    string               `json:"name"`
	Kstatus status.Status        `json:"kstatus"`
	ArgoCD  *health.HealthStatus `json:"argocd"`
	Flux    status.Status        `json:"flux"`
}

func main() {
	argocd := flag.String("argocd", "", "the folder of a kustomization with Argo CD's settings")
	flux := flag.String("flux", "", "the file of a Flux Kustomization")
	flag.Parse()
	logrus.SetOutput(io.Discard)
	if err := answerAll(*argocd, *flux, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func answerAll(argocd, flux string, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	overrides, err := argocdOverrides(ctx, argocd)
	if err != nil {
		return fmt.Errorf("%s: %w", argocd, err)
	}
	reader, err := fluxReader(flux)
	if err != nil {
		return fmt.Errorf("%s: %w", flux, err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	var objects []json.RawMessage
	if err := json.Unmarshal(text, &objects); err != nil {
		return err
	}
	answers := []answer{}
	for _, raw := range objects {
		object := &unstructured.Unstructured{}
		// Unlike encoding/json, this keeps whole numbers whole, as a client of the API server does.
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		computed, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("kstatus: %w", err)
		}
		shown, err := health.GetResourceHealth(object, overrides)
		if err != nil {
			return fmt.Errorf("Argo CD: %w", err)
		}
		read, err := reader.ReadStatusForObject(ctx, nil, object)
		if err != nil {
			return fmt.Errorf("Flux: %w", err)
		}
		answers = append(answers, answer{object.GetKind(), object.GetName(), computed.Status, shown, read.Status})
	}
	return json.NewEncoder(out).Encode(answers)
}

// Reads the health checks as Argo CD does: from the ConfigMap that its settings are in.
func argocdOverrides(ctx context.Context, folder string) (lua.ResourceHealthOverrides, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	text, err := built.AsYaml()
	if err != nil {
		return nil, err
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(text, &configMap); err != nil {
		return nil, err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "argocd-secret", Namespace: configMap.Namespace, Labels: configMap.Labels,
	}}
	client := fake.NewClientset(&configMap, secret)
	return settings.NewSettingsManager(ctx, client, configMap.Namespace).GetResourceOverrides()
}

// Reads the health checks as kustomize-controller does.
func fluxReader(file string) (engine.StatusReader, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kustomization kustomizev1.Kustomization
	if err := yaml.UnmarshalStrict(text, &kustomization); err != nil {
		return nil, err
	}
	reader, err := cel.NewStatusReader(kustomization.Spec.HealthCheckExprs)
	if err != nil {
		return nil, err
	}
	return reader(nil), nil
}
