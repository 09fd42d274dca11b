//! What an object is made of: its fields, their types, and where their values come from.

use serde::{Deserialize, Serialize};

/// The field types of `describe`, by their published names.
/// <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    Id,
    Reference,
    String,
    TextArea,
    Email,
    Phone,
    Url,
    Picklist,
    Boolean,
    Currency,
    Double,
    Int,
    Percent,
    Date,
    DateTime,
    Address,
}

impl FieldType {
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Reference => "reference",
            Self::String => "string",
            Self::TextArea => "textarea",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Url => "url",
            Self::Picklist => "picklist",
            Self::Boolean => "boolean",
            Self::Currency => "currency",
            Self::Double => "double",
            Self::Int => "int",
            Self::Percent => "percent",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::Address => "address",
        }
    }

    pub fn soap(self) -> &'static str {
        match self {
            Self::Id | Self::Reference => "tns:ID",
            Self::Boolean => "xsd:boolean",
            Self::Currency | Self::Double | Self::Percent => "xsd:double",
            Self::Int => "xsd:int",
            Self::Date => "xsd:date",
            Self::DateTime => "xsd:dateTime",
            Self::Address => "urn:address",
            _ => "xsd:string",
        }
    }

    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::String | Self::TextArea | Self::Email | Self::Phone | Self::Url | Self::Picklist
        )
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Currency | Self::Double | Self::Int | Self::Percent)
    }
}

/// Where a field's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Id,
    IsDeleted,
    CreatedDate,
    LastModifiedDate,
    SystemModstamp,
    /// `CreatedById` and `LastModifiedById`: the one user there is.
    IntegrationUser,
    Column(usize),
    /// First and last name, joined.
    FullName,
    /// A compound address of the columns that begin so.
    Address(&'static str),
    /// A formula: the named field of the record that a column refers to. It never moves `SystemModstamp`.
    OfParent {
        reference: usize,
        field: &'static str,
    },
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub label: String,
    pub kind: FieldType,
    pub length: usize,
    pub required: bool,
    pub createable: bool,
    pub updateable: bool,
    pub calculated: bool,
    pub external_id: bool,
    pub unique: bool,
    pub filterable: bool,
    pub sortable: bool,
    pub picklist: Vec<String>,
    pub reference_to: Option<String>,
    pub relationship: Option<String>,
    pub source: Source,
}

impl Field {
    /// A nillable field of the user's data, with a column of its own.
    pub fn new(name: &str, label: &str, kind: FieldType) -> Self {
        let length = match kind {
            FieldType::Id | FieldType::Reference => 18,
            FieldType::Email => 80,
            FieldType::Phone => 40,
            FieldType::String | FieldType::Url | FieldType::Picklist => 255,
            FieldType::TextArea => 32_000,
            _ => 0,
        };
        let long = kind == FieldType::TextArea;
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            kind,
            length,
            required: false,
            createable: true,
            updateable: true,
            calculated: false,
            external_id: false,
            unique: false,
            filterable: !long,
            sortable: !long && kind != FieldType::Address,
            picklist: Vec::new(),
            reference_to: None,
            relationship: None,
            source: Source::Column(usize::MAX),
        }
    }

    pub fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    #[must_use]
    pub fn length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    #[must_use]
    pub fn read_only(mut self, source: Source) -> Self {
        (self.createable, self.updateable) = (false, false);
        self.source = source;
        self
    }

    #[must_use]
    pub fn formula(mut self, source: Source) -> Self {
        self.calculated = true;
        self.read_only(source)
    }

    #[must_use]
    pub fn external_id(mut self) -> Self {
        (self.external_id, self.unique) = (true, true);
        self
    }

    #[must_use]
    pub fn filterable(mut self) -> Self {
        (self.filterable, self.sortable) = (true, true);
        self
    }

    #[must_use]
    pub fn values(mut self, values: &[&str]) -> Self {
        self.picklist = values.iter().map(|value| (*value).to_owned()).collect();
        self
    }

    #[must_use]
    pub fn to(mut self, object: &str, relationship: &str) -> Self {
        self.reference_to = Some(object.to_owned());
        self.relationship = Some(relationship.to_owned());
        self
    }
}

/// An object: its names, its key prefix, and its fields. A field that was removed leaves its column behind.
#[derive(Clone, Debug)]
pub struct Schema {
    pub name: String,
    pub label: String,
    pub plural: String,
    pub prefix: String,
    pub fields: Vec<Field>,
    pub columns: usize,
}

impl Schema {
    pub fn new(name: &str, plural: &str, prefix: &str, fields: Vec<Field>) -> Self {
        let mut schema = Self {
            name: name.to_owned(),
            label: name.to_owned(),
            plural: plural.to_owned(),
            prefix: prefix.to_owned(),
            fields: Vec::new(),
            columns: 0,
        };
        let stamp = |name: &str, label: &str, source| Field::new(name, label, FieldType::DateTime).read_only(source);
        let user = |name: &str, label: &str, relationship: &str| {
            Field::new(name, label, FieldType::Reference)
                .to("User", relationship)
                .read_only(Source::IntegrationUser)
        };
        let id = Field::new("Id", &format!("{name} ID"), FieldType::Id).read_only(Source::Id);
        let deleted = Field::new("IsDeleted", "Deleted", FieldType::Boolean).read_only(Source::IsDeleted);
        let audit = [
            stamp("CreatedDate", "Created Date", Source::CreatedDate),
            user("CreatedById", "Created By ID", "CreatedBy"),
            stamp("LastModifiedDate", "Last Modified Date", Source::LastModifiedDate),
            user("LastModifiedById", "Last Modified By ID", "LastModifiedBy"),
            stamp("SystemModstamp", "System Modstamp", Source::SystemModstamp),
        ];
        for field in [id, deleted].into_iter().chain(fields).chain(audit) {
            schema.add(field);
        }
        schema
    }

    /// Adds a field, giving it a column if it holds data. A field of that name is replaced.
    pub fn add(&mut self, mut field: Field) {
        if field.source == Source::Column(usize::MAX) {
            field.source = Source::Column(self.columns);
            self.columns += 1;
        }
        self.fields
            .retain(|known| !known.name.eq_ignore_ascii_case(&field.name));
        self.fields.push(field);
    }

    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.fields.len();
        self.fields.retain(|field| !field.name.eq_ignore_ascii_case(name));
        self.fields.len() < before
    }

    /// Names are not case-sensitive.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        match self.field(name)?.source {
            Source::Column(column) => Some(column),
            _ => None,
        }
    }

    /// The field whose relationship has this name.
    pub fn relationship(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| {
            field
                .relationship
                .as_ref()
                .is_some_and(|relationship| relationship.eq_ignore_ascii_case(name))
        })
    }
}
