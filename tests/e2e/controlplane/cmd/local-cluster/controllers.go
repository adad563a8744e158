package main

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"k8s.io/kubernetes/pkg/controller/namespace/deletion"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
)

// How soon a namespace is looked at again while some of its pods are still ending.
const namespaceRetry = 200 * time.Millisecond

// runControllers does the part of a controller manager without which tests get stuck: the rules of
// aggregated cluster roles, the service account `default`, and the end of deleted namespaces. All
// three are the real ones, but for the five seconds that the real namespace controller waits first.
func runControllers(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)

	roles := clusterroleaggregation.NewClusterRoleAggregation(factory.Rbac().V1().ClusterRoles(), client.RbacV1())
	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx),
		factory.Core().V1().ServiceAccounts(), factory.Core().V1().Namespaces(), client,
		serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	deleter := deletion.NewNamespacedResourcesDeleter(ctx, client.CoreV1().Namespaces(), metadataClient,
		client.CoreV1(), client.Discovery().ServerPreferredNamespacedResources, corev1.FinalizerKubernetes)
	namespaces := newNamespaceEnds(factory, deleter)

	factory.Start(ctx.Done())
	go roles.Run(ctx, 1)
	go accounts.Run(ctx, 1)
	go namespaces.run(ctx)
	return nil
}

// namespaceEnds empties and finalises the namespaces that someone deleted.
type namespaceEnds struct {
	deleter deletion.NamespacedResourcesDeleterInterface
	queue   workqueue.TypedDelayingInterface[string]
}

func newNamespaceEnds(factory informers.SharedInformerFactory, deleter deletion.NamespacedResourcesDeleterInterface) *namespaceEnds {
	ends := &namespaceEnds{deleter: deleter, queue: workqueue.NewTypedDelayingQueue[string]()}
	look := func(object any) {
		if namespace, ok := object.(*corev1.Namespace); ok && namespace.DeletionTimestamp != nil {
			ends.queue.Add(namespace.Name)
		}
	}
	_, _ = factory.Core().V1().Namespaces().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    look,
		UpdateFunc: func(_, object any) { look(object) },
	})
	return ends
}

func (e *namespaceEnds) run(ctx context.Context) {
	go func() {
		<-ctx.Done()
		e.queue.ShutDown()
	}()
	for {
		name, closed := e.queue.Get()
		if closed {
			return
		}
		if err := e.deleter.Delete(ctx, name); err != nil {
			if remaining := new(deletion.ResourcesRemainingError); !errors.As(err, &remaining) {
				klog.Warningf("end of namespace %s: %v", name, err)
			}
			e.queue.AddAfter(name, namespaceRetry)
		}
		e.queue.Done(name)
	}
}
