use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;

/// A Job as `jobs` makes it, before a template is merged into it.
fn ours() -> Job {
    let labels = json!({"app.kubernetes.io/managed-by": "ferrygate", "ferrygate.io/pipeline": "people"});
    serde_json::from_value(json!({
        "metadata": {
            "name": "people-contacts-1", "namespace": "crm", "labels": labels,
            "annotations": {"ferrygate.io/run-epoch": "7"},
            "ownerReferences": [{"apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline", "name": "people", "uid": "u-1"}],
        },
        "spec": {
            "backoffLimit": 4,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": true,
                    "restartPolicy": "Never",
                    "securityContext": {"runAsNonRoot": true},
                    "volumes": [
                        {"name": "secret-0", "secret": {"secretName": "org"}},
                        {"name": "state", "persistentVolumeClaim": {"claimName": "people-state"}},
                    ],
                    "containers": [{
                        "name": "worker", "image": "ferrygate:1", "args": ["worker", "sync"],
                        "volumeMounts": [
                            {"name": "secret-0", "mountPath": "/etc/ferrygate/secrets/org", "readOnly": true},
                            {"name": "state", "mountPath": "/var/lib/ferrygate"},
                        ],
                        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    }],
                },
            },
        },
    }))
    .unwrap()
}

fn with(template: Value) -> Value {
    let template: JobTemplate = serde_json::from_value(template).unwrap();
    json!(merged(Some(&template), ours()))
}

#[test]
fn without_a_template_a_worker_has_what_it_needs() {
    let job = json!(merged(None, ours()));
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(
        (
            &pod["serviceAccountName"],
            &pod["containers"][0]["resources"],
            &pod["securityContext"]
        ),
        (
            &json!("ferrygate-worker"),
            &json!({"requests": {"cpu": "100m", "memory": "64Mi"}}),
            &json!({
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            }),
        )
    );
}

#[test]
fn what_a_template_says_reaches_its_place() {
    const POD: &str = "/spec/template/spec";
    const WORKER: &str = "/spec/template/spec/containers/0";
    let toleration = json!({"key": "egress", "operator": "Exists", "effect": "NoSchedule"});
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}},
    ]}});
    let proxy = json!({"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}});
    let cases = [
        (
            json!({"nodeSelector": {"egress": "crm"}}),
            POD,
            json!({"nodeSelector": {"egress": "crm"}}),
        ),
        (
            json!({"tolerations": [toleration]}),
            POD,
            json!({"tolerations": [toleration]}),
        ),
        (json!({"affinity": affinity}), POD, json!({"affinity": affinity})),
        (
            json!({"serviceAccountName": "crm-reader"}),
            POD,
            json!({"serviceAccountName": "crm-reader"}),
        ),
        (
            json!({"priorityClassName": "low"}),
            POD,
            json!({"priorityClassName": "low"}),
        ),
        (
            json!({"imagePullSecrets": [{"name": "registry"}]}),
            POD,
            json!({"imagePullSecrets": [{"name": "registry"}]}),
        ),
        (
            json!({"securityContext": {"runAsUser": 1000680000, "fsGroupChangePolicy": "OnRootMismatch"}}),
            POD,
            json!({"securityContext": {
                "runAsNonRoot": true, "runAsUser": 1000680000, "runAsGroup": 65532, "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
            }}),
        ),
        // A limit that is stated stands alone: the request that is not stated might be higher.
        (
            json!({"resources": {"limits": {"memory": "32Mi"}}}),
            WORKER,
            json!({"resources": {"limits": {"memory": "32Mi"}}}),
        ),
        (json!({"env": [proxy]}), WORKER, json!({"env": [proxy]})),
        (
            json!({
                "volumes": [{"name": "ca", "configMap": {"name": "proxy-ca"}}],
                "volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/certs/proxy.crt", "subPath": "ca.crt"}],
            }),
            POD,
            json!({"volumes": [
                {"name": "ca", "configMap": {"name": "proxy-ca"}},
                {"name": "secret-0", "secret": {"secretName": "org"}},
                {"name": "state", "persistentVolumeClaim": {"claimName": "people-state"}},
            ]}),
        ),
        (
            json!({"labels": {"team": "crm"}}),
            "/metadata",
            json!({"labels": {
                "app.kubernetes.io/managed-by": "ferrygate", "ferrygate.io/pipeline": "people", "team": "crm",
            }}),
        ),
        (
            json!({"annotations": {"sidecar.istio.io/inject": "false"}}),
            "/spec/template/metadata",
            json!({"annotations": {"sidecar.istio.io/inject": "false"}}),
        ),
    ];
    for (template, place, expected) in cases {
        let job = with(template.clone());
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&job.pointer(place).unwrap()[field], value, "{template}: {field}");
        }
    }
}

#[test]
fn a_template_that_was_stored_before_there_was_a_rule_is_left_out_where_it_says_something_of_ours() {
    let job = with(json!({
        "serviceAccountName": "ferrygate-controller",
        "securityContext": {"runAsNonRoot": false, "runAsUser": 0, "seccompProfile": {"type": "Unconfined"}},
        "volumes": [{"name": "state", "emptyDir": {}}, {"name": "mine", "emptyDir": {}}],
        "volumeMounts": [
            {"name": "mine", "mountPath": "/var/lib"},
            {"name": "mine", "mountPath": "/var/lib/ferrygate"},
            {"name": "mine", "mountPath": "/etc/./ferrygate/secrets"},
            {"name": "state", "mountPath": "/data"},
        ],
        "env": [{"name": "KUBERNETES_SERVICE_HOST", "value": "elsewhere"}],
        "labels": {"ferrygate.io/pipeline": "others", "job-name": "others"},
        "annotations": {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"},
    }));
    let expected = serde_json::to_value(merged(
        Some(&serde_json::from_value(json!({"volumes": [{"name": "mine", "emptyDir": {}}]})).unwrap()),
        ours(),
    ))
    .unwrap();
    assert_eq!(job, expected);
}

#[test]
fn a_deadline_is_the_template_s_and_never_ends_a_worker_before_it_begins() {
    let template = |seconds: i64| JobTemplate {
        active_deadline_seconds: Some(seconds),
        ..JobTemplate::default()
    };
    let cases = [(None, 180), (Some(template(7200)), 7200), (Some(template(-1)), 60)];
    for (template, expected) in cases {
        assert_eq!(deadline(template.as_ref(), 180), expected);
    }
}

/// A template of what is right and what is not, near to what is ours.
fn any_template() -> impl Strategy<Value = JobTemplate> {
    let keys = select(vec![
        "team",
        "kueue.x-k8s.io/queue-name",
        "job-name",
        "app.kubernetes.io/managed-by",
        "ferrygate.io/pipeline",
        "ferrygate.io/run-epoch",
        "batch.kubernetes.io/job-name",
        "container.apparmor.security.beta.kubernetes.io/worker",
    ]);
    let map = move || btree_map(keys.clone().prop_map(str::to_owned), "[a-z]{1,8}", 0..4);
    let accounts = select(vec!["ferrygate-worker", "crm-reader", "ferrygate-controller", ""]);
    let names = || select(vec!["state", "secret-0", "secret-9", "ca", "scratch"]);
    let paths = select(vec![
        "/etc/ssl/certs/ca.crt",
        "/scratch",
        "/ferrygate",
        "/etc",
        "/etc/ferrygate/secrets/org",
        "/etc/ferrygated",
        "/var/lib/ferrygate",
        "/var/lib/ferrygate/",
        "/var/lib/./ferrygate",
        "/var/run/secrets/kubernetes.io",
        "/",
        "relative",
    ]);
    let variables = select(vec![
        "HTTPS_PROXY",
        "RUST_LOG",
        "KUBECONFIG",
        "HOSTNAME",
        "KUBERNETES_SERVICE_HOST",
    ]);
    let volumes = vec((names(), any::<bool>()), 0..4).prop_map(|all| {
        let volume = |(name, claim): (&str, bool)| match claim {
            true => json!({"name": name, "persistentVolumeClaim": {"claimName": "others"}}),
            false => json!({"name": name, "emptyDir": {}}),
        };
        all.into_iter().map(volume).collect::<Vec<_>>()
    });
    let mounts = vec((names(), paths), 0..4).prop_map(|all| {
        all.into_iter()
            .map(|(name, path)| json!({"name": name, "mountPath": path}))
            .collect::<Vec<_>>()
    });
    let env = vec(variables, 0..3).prop_map(|all| {
        all.into_iter()
            .map(|name| json!({"name": name, "value": "v"}))
            .collect::<Vec<_>>()
    });
    let security = (
        option::of(any::<bool>()),
        option::of(0..3_i64),
        option::of(select(vec!["RuntimeDefault", "Localhost", "Unconfined"])),
    );
    let volumes = (volumes, mounts, env);
    (map(), map(), option::of(accounts), volumes, option::of(security), option::of(any::<i64>())).prop_map(
        |(labels, annotations, account, (volumes, mounts, env), security, deadline)| {
            let mut template = json!({
                "labels": labels, "annotations": annotations, "volumes": volumes, "volumeMounts": mounts, "env": env,
                "serviceAccountName": account, "activeDeadlineSeconds": deadline,
            });
            if let Some((non_root, user, seccomp)) = security {
                template["securityContext"] = json!({
                    "runAsNonRoot": non_root, "runAsUser": user, "seccompProfile": seccomp.map(|kind| json!({"type": kind})),
                });
            }
            serde_json::from_value(template).unwrap()
        },
    )
}

/// Whether all that `part` says is said by `whole` as well; of lists, in some place.
fn says(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(field, value)| whole.get(field).is_some_and(|there| says(there, value))),
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|value| whole.iter().any(|there| says(there, value)))
        }
        _ => whole == part,
    }
}

proptest! {
    #[test]
    fn no_template_changes_what_is_ours(template in any_template()) {
        let job = json!(merged(Some(&template), ours()));
        prop_assert!(says(&job, &json!(ours())), "{job:#}");
        let pod = &job["spec"]["template"]["spec"];
        prop_assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
        prop_assert_eq!(&pod["containers"][0]["args"], &json!(["worker", "sync"]));
        prop_assert!(pod["securityContext"]["runAsUser"] != 0 && pod["serviceAccountName"] != "ferrygate-controller");
        prop_assert!(pod["securityContext"]["seccompProfile"]["type"] != "Unconfined");
        let kept = |list: &Value, field: &str, value: &str| {
            list.as_array().into_iter().flatten().filter(|item| item[field] == value).cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(
            kept(&pod["volumes"], "name", "state"),
            vec![json!({"name": "state", "persistentVolumeClaim": {"claimName": "people-state"}})]
        );
        prop_assert_eq!(
            kept(&pod["containers"][0]["volumeMounts"], "mountPath", "/var/lib/ferrygate"),
            vec![json!({"name": "state", "mountPath": "/var/lib/ferrygate"})]
        );
        for keys in [&job["metadata"]["labels"], &job["spec"]["template"]["metadata"]["annotations"]] {
            let own: Vec<_> = keys.as_object().into_iter().flatten().filter(|(key, _)| job_template::is_own_key(key)).collect();
            prop_assert!(own.iter().all(|(_, value)| **value == "ferrygate" || **value == "people"), "{own:?}");
        }
    }
}

#[test]
fn a_key_that_kubernetes_would_refuse_is_refused_at_once() {
    for field in ["labels", "annotations", "nodeSelector"] {
        for (key, right) in [
            ("a.b/C_d", true),
            ("x", true),
            ("no space", false),
            ("/x", false),
            ("a/b/c", false),
        ] {
            let refusal = JobTemplate::validate_cel(&json!({field: {key: "v"}}), None);
            assert_eq!(refusal.is_ok(), right, "{field}: {key}: {refusal:?}");
        }
    }
}

/// One thing that a template says, and whether the rules allow it: they refuse exactly what the merge leaves out.
#[test]
fn the_rules_refuse_what_the_merge_leaves_out_and_nothing_else() {
    let volume = |name: &str| json!({"volumes": [{"name": name, "emptyDir": {}}]});
    let mount = |path: &str| json!({"volumes": [{"name": "mine", "emptyDir": {}}], "volumeMounts": [{"name": "mine", "mountPath": path}]});
    let variable = |name: &str| json!({"env": [{"name": name, "value": "v"}]});
    let label = |key: &str| json!({"labels": {key: "v"}});
    let annotation = |key: &str| json!({"annotations": {key: "v"}});
    let security = |field: &str, value: Value| json!({"securityContext": {field: value}});
    let cases = [
        (volume("ca"), true),
        (volume("states"), true),
        (volume("state"), false),
        (volume("secret-9"), false),
        (mount("/etc/ssl/certs/ca.crt"), true),
        (mount("/etc/ferrygated"), true),
        (mount("/ferrygate.d/x"), true),
        (mount("/"), false),
        (mount("relative"), false),
        (mount("/data/"), false),
        (mount("/data/../etc"), false),
        (mount("/etc"), false),
        (mount("/ferrygate"), false),
        (mount("/etc/ferrygate"), false),
        (mount("/etc/ferrygate/secrets/org"), false),
        (mount("/var/lib/ferrygate"), false),
        (mount("/var/lib/./ferrygate"), false),
        (mount("/var/run/secrets/kubernetes.io/serviceaccount"), false),
        (mount("/run/secrets"), false),
        (
            json!({"volumeMounts": [{"name": "absent", "mountPath": "/data"}]}),
            false,
        ),
        (variable("HTTPS_PROXY"), true),
        (variable("RUST_LOG"), true),
        (variable("KUBECONFIG"), false),
        (variable("HOSTNAME"), false),
        (variable("KUBERNETES_SERVICE_HOST"), false),
        (label("team"), true),
        (label("kueue.x-k8s.io/queue-name"), true),
        (label("ferrygate.io/pipeline"), false),
        (label("app.kubernetes.io/managed-by"), false),
        (label("batch.kubernetes.io/job-name"), false),
        (label("controller-uid"), false),
        (annotation("sidecar.istio.io/inject"), true),
        (annotation("ferrygate.io/run-epoch"), false),
        (
            annotation("container.apparmor.security.beta.kubernetes.io/worker"),
            false,
        ),
        (json!({"serviceAccountName": "crm-reader"}), true),
        (json!({"serviceAccountName": "ferrygate-controller"}), false),
        (security("runAsUser", json!(1000680000)), true),
        (security("runAsUser", json!(0)), false),
        (
            security("seccompProfile", json!({"type": "Localhost", "localhostProfile": "p"})),
            true,
        ),
        (security("seccompProfile", json!({"type": "Unconfined"})), false),
    ];
    for (template, allowed) in cases {
        let refusal = JobTemplate::validate_cel(&template, None);
        assert_eq!(refusal.is_ok(), allowed, "{template}: {refusal:?}");
        let read: JobTemplate = serde_json::from_value(template.clone()).unwrap();
        let merged = json!(merged(Some(&read), ours()));
        let pod = &merged["spec"]["template"]["spec"];
        // Where a thing of the template comes to stand: labels and annotations, the pod, and the worker's container.
        let places = [
            &merged["metadata"],
            &merged["spec"]["template"]["metadata"],
            pod,
            &pod["containers"][0],
        ];
        let kept = template
            .as_object()
            .unwrap()
            .iter()
            .all(|(field, value)| places.iter().any(|place| says(&place[field], value)));
        assert_eq!(kept, allowed, "{template} became {merged:#}");
    }
}
